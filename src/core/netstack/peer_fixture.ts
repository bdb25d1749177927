/**
 * For tests: the other end of a stack's sessions, spoken segment by segment. It sends exactly what a test says and writes down
 * what the stack answers, with numbers counted from both sides' first.
 */
import { fromHex } from "../../base/mod.ts";
import {
  clearTcpOptions,
  copyEnds,
  decodeIp,
  decodeTcp,
  encodeTcp,
  endText,
  type IpEnds,
  IpHeader,
  ipHeaderBytes,
  IpProtocol,
  type PacketMemory,
  packetMemory,
  parseEnds,
  TcpFlag,
  TcpHeader,
  tcpHeaderBytes,
} from "../wire/mod.ts";
import type { NetStackLimits } from "./limits.ts";
import type { NetStackOwner } from "./owner.ts";
import type { PacketPath } from "./path.ts";
import { NetStack } from "./stack.ts";
import type { SessionHandler, TcpSession } from "./tcp_session.ts";
import type { CloseWhy } from "./tcp_state.ts";

/** The peer's first number: near the end of the space, so that everything wraps. */
export const PEER_ISN = 0xffffff00 | 0;
export const LOCAL_PORT = 80;
export const REMOTE_PORT = 40_000;

export interface PeerOptions {
  readonly limits?: Partial<NetStackLimits>;
  /** What the owner says to a SYN. */
  readonly decide?: "accept" | "wait" | "refuse";
  readonly isIpv6?: boolean;
  readonly maxBytes?: number;
  readonly receiveMaxBytes?: number;
  readonly agentKey?: string | null;
  readonly holdsData?: boolean;
  /** What the owner takes of `length` offered bytes. */
  readonly take?: (length: number) => number;
  readonly owner?: Partial<NetStackOwner>;
}

/** What the peer sends: flags as letters of "FSRPAU", numbers relative to the first of each side. */
export interface Sent {
  readonly flags: string;
  readonly seq?: number;
  readonly ack?: number;
  readonly data?: string | number;
  readonly window?: number;
  readonly mss?: number;
  readonly scale?: number;
  readonly sackPermitted?: boolean;
  readonly sack?: readonly (readonly [number, number])[];
  readonly sourcePort?: number;
  readonly source?: string;
}

/** What the stack sent, in the same form. */
export interface Received {
  readonly flags: string;
  readonly seq: number;
  readonly ack: number;
  readonly window: number;
  readonly data: string;
  readonly mss: number;
  readonly scale: number;
  readonly sackPermitted: boolean;
  readonly sack: readonly (readonly [number, number])[];
  /** The whole packet's length. */
  readonly bytes: number;
}

const FLAG_LETTERS: readonly (readonly [string, number])[] = [
  ["S", TcpFlag.syn],
  ["F", TcpFlag.fin],
  ["R", TcpFlag.rst],
  ["P", TcpFlag.psh],
  ["A", TcpFlag.ack],
  ["U", TcpFlag.urg],
];

export class TestPeer implements SessionHandler {
  nowMs = 1_000_000;
  readonly stack: NetStack;
  readonly path: PacketPath;
  /** What the owner was told, in order. */
  events: string[] = [];
  /** Everything that was delivered. */
  delivered = "";
  /** The session of the last SYN or connect. */
  session: TcpSession | null = null;
  closed: CloseWhy | null = null;
  take: (length: number) => number;
  readonly #memory = packetMemory(70_000);
  readonly #toStack: IpEnds;
  readonly #header = new TcpHeader();
  readonly #ip = new IpHeader();

  constructor(options: PeerOptions = {}) {
    this.take = options.take ?? ((length) => length);
    const ends = options.isIpv6 === true ? parseEnds("fd00::1", "fd00::2") : parseEnds("100.64.0.1", "10.100.0.2");
    if (ends === null) throw new Error("addresses");
    this.#toStack = ends;
    this.stack = new NetStack({
      onSyn: (session) => {
        this.session = session;
        if (options.decide === "refuse") return null;
        if (options.decide !== "wait") this.stack.accept(session, this.nowMs);
        return this;
      },
      onSynRefused: (_path, packet, port, why) => this.events.push(`refused ${endText(packet, "source")} ${port} ${why}`),
      onFlow: () => null,
      answersEcho: () => false,
      onPathReady: () => {},
      ...options.owner,
    }, {
      limits: options.limits ?? {},
      entropy: fromHex("000102030405060708090a0b0c0d0e0f") ?? new Uint8Array(),
      holdsData: options.holdsData ?? false,
    });
    this.path = this.stack.openPath({
      agentKey: options.agentKey === undefined ? "agent" : options.agentKey,
      maxBytes: options.maxBytes ?? 1280,
      ...(options.receiveMaxBytes === undefined ? {} : { receiveMaxBytes: options.receiveMaxBytes }),
    });
  }

  onOpen(): void {
    this.events.push("open");
  }

  onData(_session: TcpSession, memory: PacketMemory, offset: number, length: number): number {
    const taken = this.take(length);
    const text = textOf(memory, offset, taken);
    this.delivered += text;
    if (taken > 0) this.events.push(`data ${text.length > 20 ? text.length : text}`);
    return taken;
  }

  onFin(): void {
    this.events.push("fin");
  }

  onWritable(): void {
    this.events.push("writable");
  }

  onClosed(_session: TcpSession, why: CloseWhy): void {
    this.closed = why;
    this.events.push(`closed ${why}`);
  }

  /** Our first number of the session, 0 where there is none. */
  get isn(): number {
    return this.session?.send.initial ?? 0;
  }

  /** Sends one segment to the stack. */
  send(sent: Sent): void {
    const header = this.#header;
    clearTcpOptions(header);
    header.sourcePort = sent.sourcePort ?? REMOTE_PORT;
    header.destinationPort = LOCAL_PORT;
    header.flags = FLAG_LETTERS.reduce((flags, [letter, bit]) => sent.flags.includes(letter) ? flags | bit : flags, 0);
    header.sequence = (PEER_ISN + (sent.seq ?? 1)) | 0;
    header.acknowledgement = sent.flags.includes("A") ? (this.isn + (sent.ack ?? 1)) | 0 : 0;
    header.window = sent.window ?? 65_535;
    header.mssBytes = sent.mss ?? 0;
    header.windowScale = sent.scale ?? -1;
    header.sackPermitted = sent.sackPermitted ?? false;
    header.sackCount = sent.sack?.length ?? 0;
    sent.sack?.forEach(([left, right], i) => {
      header.sackEdges[2 * i] = (this.isn + left) | 0;
      header.sackEdges[2 * i + 1] = (this.isn + right) | 0;
    });
    const data = typeof sent.data === "number" ? "x".repeat(sent.data) : sent.data ?? "";
    header.payloadBytes = data.length;
    const ends = sent.source === undefined ? this.#toStack : parseEnds(sent.source, endText(this.#toStack, "destination"));
    if (ends === null) throw new Error("addresses");
    this.#memory.bytes.set(new TextEncoder().encode(data), ipHeaderBytes(ends.isIpv4) + tcpHeaderBytes(header));
    const length = encodeTcp(this.#memory, 0, ends, header);
    this.stack.handlePacket(this.path, this.#memory, 0, length, this.nowMs);
  }

  /** Gives the stack a packet of bytes. */
  packet(bytes: Uint8Array): void {
    this.#memory.bytes.set(bytes);
    this.stack.handlePacket(this.path, this.#memory, 0, bytes.length, this.nowMs);
  }

  /** One packet of the stack as bytes, or null. */
  pollBytes(): Uint8Array | null {
    const length = this.stack.pollPacket(this.path, this.#memory, 0, 65_535, this.nowMs);
    return length === 0 ? null : this.#memory.bytes.slice(0, length);
  }

  /** All segments that the stack wants to send now. */
  poll(): Received[] {
    const all: Received[] = [];
    for (let bytes = this.pollBytes(); bytes !== null; bytes = this.pollBytes()) all.push(this.#read(bytes));
    return all;
  }

  /** The same as text, one line each. */
  told(): string[] {
    return this.poll().map(lineOf);
  }

  /** The events since the last call. */
  heard(): string[] {
    const { events } = this;
    this.events = [];
    return events;
  }

  pass(ms: number): void {
    const endMs = this.nowMs + ms;
    for (let nextMs = this.stack.nextTimeoutMs(); nextMs <= endMs; nextMs = this.stack.nextTimeoutMs()) {
      this.nowMs = Math.max(this.nowMs, nextMs);
      this.stack.handleTimeout(this.nowMs);
    }
    this.nowMs = endMs;
    this.stack.handleTimeout(endMs);
  }

  write(data: string | number): number {
    const text = typeof data === "number" ? "y".repeat(data) : data;
    const memory = packetMemory(Math.max(1, text.length));
    memory.bytes.set(new TextEncoder().encode(text));
    if (this.session === null) throw new Error("no session");
    return this.stack.write(this.session, memory, 0, text.length, this.nowMs);
  }

  shutdown(): void {
    if (this.session !== null) this.stack.shutdownWrite(this.session, this.nowMs);
  }

  abort(): void {
    if (this.session !== null) this.stack.abort(this.session, this.nowMs);
  }

  /** A session in the state that a plain handshake leads to; its talk is forgotten. */
  establish(options: Partial<Sent> = {}): this {
    this.send({ flags: "S", seq: 0, mss: 1000, ...options });
    this.poll();
    this.send({ flags: "A", ...(options.window === undefined ? {} : { window: options.window }) });
    this.events = [];
    return this;
  }

  connect(): this {
    const ends = new IpHeader();
    copyEnds(this.#toStack, ends, true);
    this.session = this.stack.connect(this.path, ends, LOCAL_PORT, REMOTE_PORT, this, this.nowMs);
    return this;
  }

  #read(bytes: Uint8Array): Received {
    const memory = packetMemory(bytes.length);
    memory.bytes.set(bytes);
    const ip = this.#ip, tcp = new TcpHeader();
    if (decodeIp(memory, 0, bytes.length, ip) !== "ok" || ip.protocol !== IpProtocol.tcp) throw new Error("not a TCP packet");
    const verdict = decodeTcp(memory, ip, tcp);
    if (verdict !== "ok") throw new Error(`the stack sent a segment with bad ${verdict}`);
    const isReset = (tcp.flags & TcpFlag.rst) !== 0;
    return {
      flags: FLAG_LETTERS.filter(([, bit]) => (tcp.flags & bit) !== 0).map(([letter]) => letter).join(""),
      seq: isReset && tcp.sequence === 0 ? 0 : (tcp.sequence - this.isn) | 0,
      ack: (tcp.flags & TcpFlag.ack) === 0 ? 0 : (tcp.acknowledgement - PEER_ISN) | 0,
      window: tcp.window,
      data: textOf(memory, tcp.payloadOffset, tcp.payloadBytes),
      mss: tcp.mssBytes,
      scale: tcp.windowScale,
      sackPermitted: tcp.sackPermitted,
      sack: Array.from(
        { length: tcp.sackCount },
        (_, i) => [((tcp.sackEdges[2 * i] ?? 0) - PEER_ISN) | 0, ((tcp.sackEdges[2 * i + 1] ?? 0) - PEER_ISN) | 0] as const,
      ),
      bytes: bytes.length,
    };
  }
}

/** `SA seq=0 ack=1`, and what else there is. */
export function lineOf(segment: Received): string {
  const parts = [`${segment.flags} seq=${segment.seq}`];
  if (segment.flags.includes("A")) parts.push(`ack=${segment.ack}`);
  if (segment.flags.includes("R")) parts.push(`win=${segment.window}`);
  if (segment.data.length > 0) parts.push(segment.data.length > 20 ? `len=${segment.data.length}` : `"${segment.data}"`);
  for (const [left, right] of segment.sack) parts.push(`sack=${left}-${right}`);
  return parts.join(" ");
}

function textOf(memory: PacketMemory, offset: number, length: number): string {
  return new TextDecoder().decode(memory.bytes.subarray(offset, offset + length));
}
