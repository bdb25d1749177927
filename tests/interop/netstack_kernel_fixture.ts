/**
 * The stack against the kernel's own TCP: a helper in a network namespace moves packets between a TUN device and this process,
 * and runs programs on the kernel's sockets there. The link between the two loses, doubles, and swaps packets as told.
 */
import {
  type FlowHandler,
  NetStack,
  type NetStackLimits,
  type PacketPath,
  type SessionHandler,
  type TcpSession,
  type UdpFlow,
} from "../../src/core/netstack/mod.ts";
import { packetMemory, udpHeadroomBytes } from "../../src/core/wire/mod.ts";
import { SERVICES } from "./netstack_services_fixture.ts";
import { type Random, randomFrom } from "../sim/netstack_world_fixture.ts";

export const MTU_BYTES = 1280;

export interface Impairment {
  readonly loss: number;
  readonly duplicate: number;
  readonly swap: number;
}

/** One job of the helper, and what it said. */
export type JobResult = Readonly<Record<string, unknown>>;

export class KernelBench {
  readonly stack: NetStack;
  readonly path: PacketPath;
  impairment: Impairment = { loss: 0, duplicate: 0, swap: 0 };
  /** How sessions ended, in order: what the owner was told. */
  readonly ends: string[] = [];
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #random: Random = randomFrom(7);
  readonly #in = packetMemory(70_000);
  readonly #out = packetMemory(256 * 1024);
  readonly #replies = packetMemory(256 * 1024);
  readonly #results = new Map<number, (result: JobResult) => void>();
  #repliesBytes = 0;
  #held: Uint8Array<ArrayBuffer> | null = null;
  #isWriting = false;
  #timer: number | undefined;
  #nextJob = 1;
  #isClosed = false;

  constructor(limits: Partial<NetStackLimits> = {}) {
    this.stack = new NetStack({
      onSyn: (session) => this.#onSyn(session),
      onSynRefused: () => {},
      onFlow: (flow) => flow.localPort === 53 ? this.#echoDatagrams() : null,
      answersEcho: () => true,
      onPathReady: () => {},
    }, { limits: { synPerSourcePerSecondMax: 100_000, ...limits }, entropy: crypto.getRandomValues(new Uint8Array(16)) });
    this.path = this.stack.openPath({ agentKey: "kernel", maxBytes: MTU_BYTES });
    const script = new URL("netstack_tun.py", import.meta.url).pathname;
    this.#child = new Deno.Command("unshare", {
      args: ["-n", "python3", "-B", script, String(MTU_BYTES)],
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#writer = this.#child.stdin.getWriter();
    this.#readPackets();
    this.#readResults();
  }

  /** Runs a job of netstack_tun.py and returns what it said. */
  job(job: Readonly<Record<string, unknown>>): Promise<JobResult> {
    const id = this.#nextJob++;
    const body = new TextEncoder().encode(JSON.stringify({ ...job, id }));
    const frame = new Uint8Array(4 + body.length);
    new DataView(frame.buffer).setUint16(2, body.length);
    frame.set(body, 4);
    const result = new Promise<JobResult>((resolve) => this.#results.set(id, resolve));
    this.#writer.write(frame).catch(() => {});
    return result;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    await this.#writer.close().catch(() => {});
    await this.#child.status;
  }

  async #readPackets(): Promise<void> {
    let rest = new Uint8Array(0);
    for await (const chunk of this.#child.stdout) {
      const bytes = new Uint8Array(rest.length + chunk.length);
      bytes.set(rest);
      bytes.set(chunk, rest.length);
      let at = 0;
      while (bytes.length - at >= 2) {
        const length = (bytes[at] ?? 0) << 8 | (bytes[at + 1] ?? 0);
        if (bytes.length - at < 2 + length) break;
        this.#receive(bytes.subarray(at + 2, at + 2 + length));
        at += 2 + length;
      }
      rest = bytes.slice(at);
      this.pump();
    }
  }

  #receive(packet: Uint8Array): void {
    const { loss, duplicate, swap } = this.impairment;
    if (this.#random() < loss) return;
    if (this.#held === null && this.#random() < swap) {
      this.#held = Uint8Array.from(packet);
      return;
    }
    for (let copies = this.#random() < duplicate ? 2 : 1; copies > 0; copies--) this.#take(packet);
    if (this.#held !== null) this.#take(this.#held);
    this.#held = null;
  }

  #take(packet: Uint8Array): void {
    this.#in.bytes.set(packet);
    this.stack.handlePacket(this.path, this.#in, 0, packet.length, performance.now());
  }

  async #readResults(): Promise<void> {
    let text = "";
    for await (const chunk of this.#child.stderr.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n")) {
        const line = text.slice(0, end);
        text = text.slice(end + 1);
        if (!line.startsWith("{")) {
          if (!this.#isClosed) console.error(line);
          continue;
        }
        const result = JSON.parse(line);
        this.#results.get(result.id)?.(result);
        this.#results.delete(result.id);
      }
    }
  }

  /** Moves what the stack has to say to the helper, as fast as that takes it, and sets the next alarm. */
  pump(): void {
    if (this.#isClosed) return;
    const now = performance.now();
    if (this.stack.nextTimeoutMs() <= now) this.stack.handleTimeout(now);
    if (!this.#isWriting) this.#flush(now);
    clearTimeout(this.#timer);
    const next = this.stack.nextTimeoutMs();
    if (next !== Infinity) this.#timer = setTimeout(() => this.pump(), Math.max(1, Math.ceil(next - performance.now())));
  }

  #flush(now: number): void {
    const { loss, duplicate } = this.impairment;
    let at = this.#repliesBytes;
    this.#out.bytes.set(this.#replies.bytes.subarray(0, at));
    this.#repliesBytes = 0;
    while (at + 2 + 2 * MTU_BYTES < this.#out.bytes.length) {
      const length = this.stack.pollPacket(this.path, this.#out, at + 2, MTU_BYTES, now);
      if (length === 0) break;
      this.#out.view.setUint16(at, length);
      if (this.#random() < loss) continue;
      at += 2 + length;
      if (this.#random() < duplicate && at + 4 + 3 * MTU_BYTES < this.#out.bytes.length) {
        this.#out.bytes.copyWithin(at, at - 2 - length, at);
        at += 2 + length;
      }
    }
    if (at === 0) return;
    this.#isWriting = true;
    this.#writer.write(this.#out.bytes.slice(0, at)).then(() => {
      this.#isWriting = false;
      this.pump();
    }, () => {});
  }

  #onSyn(session: TcpSession): SessionHandler | null {
    const service = SERVICES[session.localPort];
    if (service === undefined) return null;
    // A backend takes a moment to connect.
    setTimeout(() => {
      this.stack.accept(session, performance.now());
      this.pump();
    }, 2);
    return service(this, session);
  }

  #echoDatagrams(): FlowHandler {
    return {
      onDatagram: (flow: UdpFlow, memory, offset, length) => {
        const at = this.#repliesBytes, headroom = udpHeadroomBytes(flow.ends.isIpv4);
        this.#replies.bytes.set(memory.bytes.subarray(offset, offset + length), at + 2 + headroom);
        const bytes = this.stack.frameDatagram(flow, this.#replies, at + 2, length, performance.now());
        if (bytes === 0) return;
        this.#replies.view.setUint16(at, bytes);
        this.#repliesBytes = at + 2 + bytes;
      },
      onUnreachable: () => {},
      onEnd: () => {},
    };
  }
}
