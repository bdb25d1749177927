/**
 * Rubbish for a QUIC port: noise, headers that promise what does not follow, packets of a real connection that were spoilt, cut, repeated
 * and joined. A seed stands for a sequence.
 */
import { createSocket, type Socket } from "node:dgram";
import { Dice, writeInput } from "../fuzz/byte_mutations.ts";

const PAYLOAD_BYTES_MAX = 1_472;
const SIZES = [1, 2, 5, 7, 20, 21, 22, 43, 50, 300, 1199, 1200, 1201, 1350, 1472];
const FIRST_BYTES = [0x00, 0x3f, 0x40, 0x43, 0x5a, 0x7f, 0xc0, 0xc3, 0xd0, 0xe0, 0xf0, 0xff];
/** None, ours, greased, a draft, anything. */
const VERSIONS = [[0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 1], [0xfa, 0xfa, 0xfa, 0xfa], [0x6b, 0x33, 0x43, 0xcf], [0xff, 0, 0, 29]];
const ID_LENGTHS = [0, 7, 8, 16, 20, 21, 255];

export class Garbage {
  readonly #dice: Dice;
  readonly #recorded: readonly Uint8Array[];
  readonly #scratch = new Uint8Array(PAYLOAD_BYTES_MAX + 64);

  /** `recorded` are payloads of real connections; each counts as often as it stands there. */
  constructor(seed: number, recorded: readonly Uint8Array[]) {
    this.#dice = new Dice(seed);
    this.#recorded = recorded;
  }

  next(): Uint8Array {
    switch (this.#dice.below(5)) {
      case 0:
        return this.#noise();
      case 1:
        return this.#promise();
      case 2:
        return this.#joined();
      default:
        return this.#spoilt();
    }
  }

  many(count: number): Uint8Array[] {
    return Array.from({ length: count }, () => this.next());
  }

  #noise(): Uint8Array {
    const bytes = new Uint8Array(this.#pick(SIZES));
    crypto.getRandomValues(bytes);
    return bytes;
  }

  /** A header that looks right as far as it goes. */
  #promise(): Uint8Array {
    const bytes = this.#noise();
    bytes[0] = this.#pick(FIRST_BYTES);
    bytes.set(this.#pick(VERSIONS).slice(0, Math.max(0, bytes.length - 1)), Math.min(1, bytes.length));
    if (bytes.length > 5) bytes[5] = this.#pick(ID_LENGTHS);
    return bytes;
  }

  #spoilt(): Uint8Array {
    const length = writeInput(this.#dice, this.#recorded, this.#scratch, 0, PAYLOAD_BYTES_MAX);
    return this.#scratch.slice(0, Math.max(1, length));
  }

  /** Several packets in one payload, right and wrong ones. */
  #joined(): Uint8Array {
    const parts = Array.from(
      { length: 2 + this.#dice.below(3) },
      () => this.#dice.below(2) === 0 ? this.#spoilt() : this.#promise(),
    );
    return Uint8Array.from(parts.flatMap((part) => [...part.subarray(0, 600)])).slice(0, PAYLOAD_BYTES_MAX);
  }

  #pick<T>(values: readonly T[]): T {
    return values[this.#dice.below(values.length)] as T;
  }
}

/** Stands between one client and a server, and keeps what the client sends. It can speak in the name of either. */
export class Wiretap implements AsyncDisposable {
  readonly recorded: Uint8Array[] = [];
  /** Where the client's packets go. */
  serverPort: number;
  /** The client's own port, once it has spoken. */
  clientPort = 0;
  readonly #inside: Socket;
  readonly #outside: Socket;

  private constructor(inside: Socket, outside: Socket, serverPort: number) {
    this.#inside = inside;
    this.#outside = outside;
    this.serverPort = serverPort;
  }

  /** `onAnswer` sees what servers send, before the client does. */
  static async before(serverPort: number, onAnswer: (packet: Uint8Array) => void = () => {}): Promise<Wiretap> {
    const [inside, outside] = [await bound(), await bound()];
    const tap = new Wiretap(inside, outside, serverPort);
    inside.on("message", (data: Uint8Array, from) => {
      tap.clientPort = from.port;
      tap.recorded.push(new Uint8Array(data));
      outside.send(data, tap.serverPort, "127.0.0.1");
    });
    outside.on("message", (data: Uint8Array) => {
      onAnswer(data);
      inside.send(data, tap.clientPort, "127.0.0.1");
    });
    return tap;
  }

  get port(): number {
    return this.#inside.address().port;
  }

  /** Sends from the address that the server knows the client by. */
  async speak(payloads: readonly Uint8Array[]): Promise<void> {
    for (const payload of payloads) await sendTo(this.#outside, payload, this.serverPort);
  }

  /** Sends from the address that the client knows the server by. */
  async speakAsServer(payloads: readonly Uint8Array[]): Promise<void> {
    for (const payload of payloads) await sendTo(this.#inside, payload, this.clientPort);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([closed(this.#inside), closed(this.#outside)]);
  }
}

/** Somebody without a connection, who counts what is answered. */
export class Stranger implements AsyncDisposable {
  sentBytes = 0;
  answeredBytes = 0;
  readonly #socket: Socket;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("message", (data: Uint8Array) => this.answeredBytes += data.length);
  }

  static async make(): Promise<Stranger> {
    return new Stranger(await bound());
  }

  async send(payloads: readonly Uint8Array[], port: number): Promise<void> {
    for (const payload of payloads) {
      this.sentBytes += payload.length;
      await sendTo(this.#socket, payload, port);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await closed(this.#socket);
  }
}

async function bound(): Promise<Socket> {
  const socket = createSocket("udp4");
  await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
  return socket;
}

function sendTo(socket: Socket, payload: Uint8Array, port: number): Promise<void> {
  return new Promise((resolve) => socket.send(payload, 0, payload.length, port, "127.0.0.1", () => resolve()));
}

function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.close(() => resolve()));
}
