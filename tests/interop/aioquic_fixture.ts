/** Another implementation of QUIC as a peer of ours: the Python program ztna_v1_peer.py, steered and heard by JSON lines. */
import { join, resolve } from "node:path";
import { pythonEnvironment } from "../../tools/python_packages.ts";
import { linesOf } from "../../tools/test_output.ts";
import type { CertificateFiles } from "../e2e/pki_fixture.ts";

const ROOT = resolve(import.meta.dirname ?? ".", "..", "..");
const PROGRAM = join(ROOT, "tests", "interop", "ztna_v1_peer.py");
const WAIT_MS = 40_000;

/** One thing that the peer saw. */
export interface PeerEvent {
  readonly event: "connected" | "moved" | "datagram" | "udp" | "stream" | "reset" | "stop" | "closed";
  readonly [field: string]: unknown;
}

export interface PythonPeerOptions {
  readonly server: string;
  readonly ca: string;
  /** Null: it shows no certificate. */
  readonly files: CertificateFiles | null;
  /** Default: ztna-v1 alone. */
  readonly alpn?: readonly string[];
  /** The name that the other end's certificate must have; default: that of servers. */
  readonly serverName?: string;
}

export class PythonPeer implements AsyncDisposable {
  readonly events: PeerEvent[] = [];
  readonly #child: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  readonly #reading: Promise<void>;
  readonly #errors: Promise<string>;
  #seen = 0;
  #isOver = false;
  #wake = Promise.withResolvers<void>();

  constructor({ server, ca, files, alpn = ["ztna-v1"], serverName = "ztna-server" }: PythonPeerOptions) {
    const identity = files === null ? [] : ["--cert", files.cert, "--key", files.key];
    this.#child = new Deno.Command("python3", {
      args: [
        PROGRAM,
        "--server",
        server,
        "--server-name",
        serverName,
        "--ca",
        ca,
        ...identity,
        ...alpn.flatMap((name) => ["--alpn", name]),
      ],
      env: pythonEnvironment("aioquic"),
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#input = this.#child.stdin.getWriter();
    this.#reading = this.#read();
    this.#errors = new Response(this.#child.stderr).text();
  }

  /** Connects and waits for the server's report of its address, which says that the certificate was accepted. */
  static async admitted(options: PythonPeerOptions): Promise<PythonPeer> {
    const peer = new PythonPeer(options);
    try {
      const { port } = await peer.next("connected");
      await peer.datagram(qad(Number(port)));
      return peer;
    } catch (error) {
      await peer[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The next event, which must be of one of these kinds; everything is heard in order. */
  async next(...kinds: readonly PeerEvent["event"][]): Promise<PeerEvent> {
    for (const deadline = performance.now() + WAIT_MS;;) {
      const event = this.events[this.#seen];
      if (event !== undefined) {
        this.#seen++;
        if (kinds.includes(event.event)) return event;
        throw new Error(`expected ${kinds.join(" or ")}, came ${JSON.stringify(event)}`);
      }
      const left = deadline - performance.now();
      if (left <= 0) throw new Error(`no ${kinds.join(" or ")} within ${WAIT_MS} ms`);
      if (this.#isOver) throw new Error(`the peer ended before ${kinds.join(" or ")}: ${(await this.#errors).slice(-800)}`);
      const timer = setTimeout(() => this.#wake.resolve(), left);
      await this.#wake.promise;
      clearTimeout(timer);
    }
  }

  /** The next event must be the DATAGRAM with these bytes. */
  async datagram(hex: string): Promise<void> {
    const { hex: came } = await this.next("datagram");
    if (came !== hex) throw new Error(`expected the DATAGRAM ${hex}, came ${came}`);
  }

  /**
   * What comes of a stream until it has all of these ends: the FIN behind what it said, RESET_STREAM, STOP_SENDING. They arrive in any
   * order. Nothing else may come meanwhile.
   */
  async stream(
    stream: number,
    ...ends: readonly ("fin" | "reset" | "stop")[]
  ): Promise<{ readonly hex: string; readonly codes: readonly unknown[] }> {
    let hex = "";
    const codes = new Map<string, unknown>();
    while (!ends.every((end) => codes.has(end))) {
      const event = await this.next("stream", "reset", "stop");
      if (event["stream"] !== stream) throw new Error(`expected stream ${stream}, came ${JSON.stringify(event)}`);
      if (event.event !== "stream") codes.set(event.event, event["code"]);
      else {
        hex += String(event["hex"]);
        if (event["fin"] === true) codes.set("fin", 0);
      }
    }
    return { hex, codes: ends.map((end) => codes.get(end)) };
  }

  /** Fails when anything comes within this time. */
  async silence(ms = 400): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, ms));
    const event = this.events[this.#seen];
    if (event !== undefined) throw new Error(`expected nothing, came ${JSON.stringify(event)}`);
  }

  async do(command: Readonly<Record<string, unknown>>): Promise<void> {
    await this.#input.write(new TextEncoder().encode(JSON.stringify(command) + "\n"));
  }

  /** Sends a DATAGRAM. */
  async send(hex: string): Promise<void> {
    await this.do({ do: "datagram", hex });
  }

  /** Goes on from another port, and `renews`: with another connection ID, which the server must have given it. Returns the port. */
  async move(renews: boolean): Promise<number> {
    await this.do({ do: "move", renews });
    const { port, renewed } = await this.next("moved");
    if (renewed !== renews) throw new Error("the server has given no connection ID to move with");
    return Number(port);
  }

  /** Registers a service and expects the ACK. */
  async register(role: "agent" | "connector", service: string): Promise<void> {
    const id = hexOf(service), length = (id.length / 2).toString(16).padStart(2, "0");
    await this.send((role === "agent" ? "10" : "11") + length + id);
    await this.datagram("1200" + length + id);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#input.close().catch(() => {});
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), 3_000);
    await this.#child.status;
    clearTimeout(timer);
    await Promise.all([this.#reading, this.#errors]);
  }

  async #read(): Promise<void> {
    for await (const line of linesOf(this.#child.stdout)) {
      this.events.push(JSON.parse(line));
      this.#wake.resolve();
      this.#wake = Promise.withResolvers();
    }
    this.#isOver = true;
    this.#wake.resolve();
  }
}

/** The report of an address at 127.0.0.1 (WIRE 3.6). */
export function qad(port: number): string {
  return "017f000001" + port.toString(16).padStart(4, "0");
}

export function hexOf(text: string): string {
  return [...new TextEncoder().encode(text)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** An OPEN of an agent for a service (WIRE 7.3). */
export function openOf(service: string): string {
  const id = hexOf(service), hex16 = (n: number) => n.toString(16).padStart(4, "0");
  return "54" + hex16(id.length / 2 + 3) + "01" + hex16(id.length / 2) + id;
}
