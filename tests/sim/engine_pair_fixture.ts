/**
 * Two connections of one engine, joined by hand: packets of one are given to the other, or kept from it. Whatever engine stands
 * behind the interface, the same calls are made, so that engines can be compared.
 */
import type { Arena, Engine, EngineConnection, PeerVerification, TransportLimits } from "../../src/core/quic/mod.ts";
import { ArenaLayout, SOCKADDR_SLOT_BYTES, writeSockaddr } from "../../src/io/mod.ts";
import type { TlsMaterial } from "../../src/roles/control/mod.ts";

export type PairSide = "client" | "server";

/** An engine under test, and its time. */
export interface PairEngine {
  readonly engine: Engine;
  readonly layout: ArenaLayout;
  /** Lets time pass. */
  elapse(ms: number): void;
}

export interface PairOptions {
  readonly client: TlsMaterial;
  readonly server: TlsMaterial;
  readonly expected: string;
  readonly verifyClient: "require" | "if-given";
  readonly protocols: { readonly client: readonly string[]; readonly server: readonly string[] };
  readonly transport: Partial<TransportLimits>;
}

export const PAIR_TRANSPORT: TransportLimits = {
  idleTimeoutMs: 5_000,
  udpPayloadRecvMaxBytes: 1_350,
  udpPayloadSendMaxBytes: 1_350,
  discoverPathMtu: false,
  connectionWindowBytes: 1_000_000,
  connectionWindowMaxBytes: 1_000_000,
  streamWindowBytes: 10_000,
  streamWindowMaxBytes: 10_000,
  streamsBidiMax: 8,
  datagramQueueMax: 16,
  activeConnectionIdLimit: 4,
  congestionControl: "cubic",
};

const PACKET_BYTES_MAX = 2_000;
const CHUNK_BYTES = 65_536;
const ROUNDS_MAX = 300;
/** Arena that a pair needs beside the engine. */
export const PAIR_ARENA_BYTES = 1024 * 1024;

export class EnginePair {
  readonly client: EngineConnection;
  readonly server: EngineConnection;
  readonly engine: Engine;
  /** Whether a packet is kept from its receiver; asked for each. */
  drops: (from: PairSide, length: number) => boolean = () => false;
  readonly #pair: PairEngine;
  readonly #arena: Arena;
  readonly #slots: Readonly<Record<PairSide, number>>;
  /** The client's address as the server sees it. */
  readonly #outside: number;
  #outsidePort = 3_333;
  readonly #packetAt: number;
  readonly #chunkAt: number;

  constructor(pair: PairEngine, options: PairOptions) {
    const { engine, layout } = pair;
    this.#pair = pair;
    this.engine = engine;
    this.#arena = engine.arena;
    this.#slots = { client: layout.reserve(SOCKADDR_SLOT_BYTES), server: layout.reserve(SOCKADDR_SLOT_BYTES) };
    this.#packetAt = layout.reserve(PACKET_BYTES_MAX);
    this.#chunkAt = layout.reserve(CHUNK_BYTES);
    writeSockaddr(this.#arena, this.#slots.client, { address: "127.0.0.1", port: 1_111 });
    this.#outside = layout.reserve(SOCKADDR_SLOT_BYTES);
    this.rebind();
    writeSockaddr(this.#arena, this.#slots.server, { address: "127.0.0.1", port: 2222 });
    const transport = { ...PAIR_TRANSPORT, ...options.transport };
    const profile = (side: PairSide, tls: TlsMaterial, kind: "require" | "if-given") => {
      const verify: PeerVerification = { kind, trustPem: tls.trustPem ?? new Uint8Array(0), crlPem: null };
      const { certificatePem, keyPem } = tls;
      const identity = certificatePem === null || keyPem === null
        ? null
        : { certificateChainPem: certificatePem, privateKeyPem: keyPem };
      return engine.createProfile({ side, identity, verify, protocols: options.protocols[side], transport });
    };
    const id = () => crypto.getRandomValues(new Uint8Array(16));
    const { client, server } = this.#slots;
    const near = engine.connect(profile("client", options.client, "require"), options.expected, id(), client, server);
    const far = engine.accept(profile("server", options.server, options.verifyClient), id(), null, id(), server, this.#outside);
    if (near === null || far === null) throw new Error("the engine made no connection");
    this.client = near;
    this.server = far;
  }

  /** A NAT before the client has its packets come from another port from now on, and what goes to the old one is lost. */
  rebind(): void {
    writeSockaddr(this.#arena, this.#outside, { address: "127.0.0.1", port: ++this.#outsidePort });
  }

  /** The next packet of one side goes to the other, or is dropped. Returns whether there was one. */
  move(from: PairSide): boolean {
    const to = from === "client" ? "server" : "client";
    const length = this[from].send(this.#packetAt, PACKET_BYTES_MAX);
    if (length <= 0) return false;
    const goesNowhere = from === "server" && this.#arena.view.getUint16(this.engine.sendTo + 2) !== this.#outsidePort;
    const source = from === "server" ? this.#slots.server : this.#outside;
    if (!this.drops(from, length) && !goesNowhere) this[to].recv(this.#packetAt, length, source, this.#slots[to]);
    return true;
  }

  /** Packets go to and fro until both sides are silent. */
  run(): void {
    for (let round = 0; round < ROUNDS_MAX; round++) {
      let isMoved = false;
      while (this.move("client")) isMoved = true;
      while (this.move("server")) isMoved = true;
      if (!isMoved) return;
    }
    throw new Error("the two sides do not come to rest");
  }

  /** Time passes in steps, with everything that it brings. */
  wait(ms: number, stepMs = 10): void {
    for (let passedMs = 0; passedMs < ms; passedMs += stepMs) {
      this.#pair.elapse(stepMs);
      for (const side of ["client", "server"] as const) {
        if (this[side].timeoutMs() === 0) this[side].onTimeout();
      }
      this.run();
    }
  }

  send(side: PairSide, stream: number, data: Uint8Array | string, fin = false): number {
    const bytes = typeof data === "string" ? new TextEncoder().encode(data) : data;
    this.#arena.bytes.set(bytes, this.#chunkAt);
    return this[side].streamSend(stream, this.#chunkAt, bytes.length, fin);
  }

  /** What a read gives: the text, the end, or the error's number. */
  read(side: PairSide, stream: number, capacity = CHUNK_BYTES): { readonly text: string; readonly fin: boolean } | number {
    const count = this[side].streamRecv(stream, this.#chunkAt, capacity);
    if (count < 0) return count;
    const text = new TextDecoder().decode(this.#arena.bytes.slice(this.#chunkAt, this.#chunkAt + count));
    return { text, fin: this.engine.streamFin };
  }

  datagram(side: PairSide, length: number): number {
    return this[side].datagramSend(this.#chunkAt, length);
  }

  readDatagram(side: PairSide): number {
    return this[side].datagramRecv(this.#chunkAt, CHUNK_BYTES);
  }

  [Symbol.dispose](): void {
    this.client.free();
    this.server.free();
  }
}
