/** UDP as applications use it: a backend that answers, and a client that asks until it hears something, as UDP clients do. */
import { createSocket, type Socket } from "node:dgram";

const ASK_AGAIN_MS = 500;
const WAIT_MS = 20_000;

/** Answers every datagram with `re: ` and what it said, and knows who asked. */
export class UdpBackend implements AsyncDisposable {
  readonly senders = new Set<number>();
  readonly #socket: Socket;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("message", (bytes, from) => {
      this.senders.add(from.port);
      socket.send(`re: ${bytes}`, from.port, from.address);
    });
  }

  static async start(): Promise<UdpBackend> {
    const socket = createSocket("udp4");
    await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
    return new UdpBackend(socket);
  }

  get port(): number {
    return this.#socket.address().port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise<void>((resolve) => this.#socket.close(() => resolve()));
  }
}

/** While `run` runs every datagram to a port is answered with the same bytes, unlike {@linkcode UdpBackend}. */
export async function withUdpEcho(run: (port: number) => Promise<void>): Promise<void> {
  const socket = createSocket("udp4");
  socket.on("message", (bytes, from) => socket.send(bytes, from.port, from.address));
  await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
  try {
    await run(socket.address().port);
  } finally {
    await new Promise<void>((resolve) => socket.close(() => resolve()));
  }
}

/** A socket of a UDP client, from one port for its whole life. */
export class UdpClient implements Disposable {
  readonly received: Uint8Array[] = [];
  readonly #socket: Socket;
  readonly #to: { readonly port: number; readonly address: string };
  #wake = Promise.withResolvers<void>();

  constructor(port: number, address = "127.0.0.1") {
    this.#to = { port, address };
    this.#socket = createSocket(address.includes(":") ? "udp6" : "udp4");
    this.#socket.on("message", (bytes) => {
      this.received.push(new Uint8Array(bytes));
      this.#wake.resolve();
      this.#wake = Promise.withResolvers();
    });
  }

  send(bytes: Uint8Array | string): void {
    this.#socket.send(bytes, this.#to.port, this.#to.address);
  }

  /** Sends the question until `isAnswer` takes something that came. */
  async ask(question: Uint8Array | string, isAnswer: (bytes: Uint8Array) => boolean): Promise<Uint8Array> {
    const deadline = performance.now() + WAIT_MS;
    while (performance.now() < deadline) {
      this.send(question);
      const again = performance.now() + ASK_AGAIN_MS;
      do {
        const found = this.received.find(isAnswer);
        if (found !== undefined) return found;
        const { promise, resolve } = Promise.withResolvers<void>();
        const timer = setTimeout(resolve, Math.max(0, again - performance.now()));
        await Promise.race([this.#wake.promise, promise]);
        clearTimeout(timer);
      } while (performance.now() < again);
    }
    throw new Error(`no answer within ${WAIT_MS} ms`);
  }

  /** Asks a {@linkcode UdpBackend} and returns its answer. */
  async hear(text: string): Promise<string> {
    const wanted = `re: ${text}`;
    const isAnswer = (bytes: Uint8Array) => new TextDecoder().decode(bytes) === wanted;
    return new TextDecoder().decode(await this.ask(text, isAnswer));
  }

  [Symbol.dispose](): void {
    this.#socket.close();
  }
}
