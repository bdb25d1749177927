/**
 * {@linkcode Engine} in memory: deterministic, on a clock that is given, without cryptography. Connections speak packets with
 * QUIC's headers that travel as bytes through whatever network there is; endpoints and roles run on it as on quiche.
 *
 * What it keeps of QUIC: the order of the handshake and who is established when, certificates and names, streams with windows,
 * FIN, resets and STOP_SENDING, datagrams with bounded queues, acknowledgements, loss and congestion, idle timeouts, closing,
 * connection IDs, Retry, a peer whose address changes. What it does not know: keys that change, several paths, 0-RTT.
 */
import type { Arena, Engine, EngineProfile, EngineProfileOptions, ExpectedName } from "../../src/core/quic/mod.ts";
import { PosternError } from "../../src/base/mod.ts";
import { SOCKADDR_SLOT_BYTES } from "../../src/io/mod.ts";
import { MemoryConnection, type MemoryConnectionOptions } from "./memory_connection_fixture.ts";
import { FrameWriter, keyFrom, LongType, seal, SEAL_BYTES } from "./memory_packet_fixture.ts";
import type { StreamLimits } from "./memory_stream_table_fixture.ts";
import type { SimRandom } from "./sim_random_fixture.ts";

/** Bytes of arena that the engine needs for itself. */
export const MEMORY_ENGINE_BYTES = 2 * SOCKADDR_SLOT_BYTES;
const FIRST_DESTINATION_BYTES = 16;

export interface MemoryEngineOptions {
  readonly arena: Arena;
  /** Offset of {@linkcode MEMORY_ENGINE_BYTES} bytes. */
  readonly scratch: number;
  readonly random: SimRandom;
  /** Monotonic milliseconds. */
  readonly clock: () => number;
  /** Milliseconds since the epoch, for certificates. */
  readonly wallClock: () => number;
  /** Smaller windows and fewer streams than the profiles ask for, so that their edges are met often. */
  readonly limits?: Partial<StreamLimits>;
}

/** A profile is what it was made of. */
export class MemoryProfile implements EngineProfile {
  readonly options: EngineProfileOptions;
  readonly limits: StreamLimits;

  constructor(options: EngineProfileOptions, limits: Partial<StreamLimits>) {
    const { transport } = options;
    const least = (own: number, cap: number | undefined) => Math.min(own, cap ?? own);
    this.options = options;
    this.limits = {
      connectionWindowBytes: least(transport.connectionWindowBytes, limits.connectionWindowBytes),
      streamWindowBytes: least(transport.streamWindowBytes, limits.streamWindowBytes),
      streamsMax: least(transport.streamsBidiMax, limits.streamsMax),
    };
  }

  free(): void {}
}

export class MemoryEngine implements Engine {
  readonly arena: Arena;
  readonly sendTo: number;
  readonly sendFrom: number;
  streamFin = false;
  streamErrorCode = 0;
  /** Those that were not freed. */
  readonly connections = new Set<MemoryConnection>();
  readonly #options: MemoryEngineOptions;

  constructor(options: MemoryEngineOptions) {
    this.#options = options;
    this.arena = options.arena;
    this.sendTo = options.scratch;
    this.sendFrom = options.scratch + SOCKADDR_SLOT_BYTES;
  }

  get nowMs(): number {
    return this.#options.clock();
  }

  get wallMs(): number {
    return this.#options.wallClock();
  }

  createProfile(options: EngineProfileOptions): EngineProfile {
    if (options.side === "server" && options.identity === null) {
      throw new PosternError("the TLS material does not fit: a server needs a certificate", { code: "tls-material" });
    }
    return new MemoryProfile(options, this.#options.limits ?? {});
  }

  accept(
    profile: EngineProfile,
    sourceId: Uint8Array,
    _original: Uint8Array | null,
    resetToken: Uint8Array,
    local: number,
    peer: number,
  ): MemoryConnection {
    return this.#create(profile, { sourceId, resetToken, expected: null, firstDestination: null }, local, peer);
  }

  connect(profile: EngineProfile, expected: ExpectedName, sourceId: Uint8Array, local: number, peer: number): MemoryConnection {
    const destination = new Uint8Array(FIRST_DESTINATION_BYTES);
    this.#options.random.fill(destination);
    return this.#create(profile, { sourceId, resetToken: null, expected, firstDestination: destination }, local, peer);
  }

  writeRetry(
    packet: number,
    _capacity: number,
    destinationId: Uint8Array,
    sourceId: Uint8Array,
    newSourceId: Uint8Array,
    token: Uint8Array,
    version: number,
  ): number {
    const { bytes, view } = this.arena;
    const writer = new FrameWriter(bytes, view);
    writer.at = packet;
    writer.u8(0xc0 | (LongType.retry << 4));
    writer.u32(version);
    for (const id of [sourceId, newSourceId]) {
      writer.u8(id.length);
      writer.bytes(id);
    }
    writer.bytes(token);
    // The integrity tag has sixteen bytes.
    seal(view, packet, writer.at, keyFrom(destinationId));
    bytes.fill(0, writer.at + SEAL_BYTES, writer.at + 2 * SEAL_BYTES);
    return writer.at + 2 * SEAL_BYTES - packet;
  }

  writeVersionNegotiation(packet: number, _capacity: number, destinationId: Uint8Array, sourceId: Uint8Array): number {
    const writer = new FrameWriter(this.arena.bytes, this.arena.view);
    writer.at = packet;
    writer.u8(0xc0);
    writer.u32(0);
    for (const id of [sourceId, destinationId]) {
      writer.u8(id.length);
      writer.bytes(id);
    }
    writer.u32(1);
    return writer.at - packet;
  }

  #create(
    profile: EngineProfile,
    own: Pick<MemoryConnectionOptions, "sourceId" | "resetToken" | "expected" | "firstDestination">,
    local: number,
    peer: number,
  ): MemoryConnection {
    if (!(profile instanceof MemoryProfile)) throw new Error("postern: internal error: a profile of another engine");
    const slot = (at: number) => this.arena.bytes.slice(at, at + SOCKADDR_SLOT_BYTES);
    const connection = new MemoryConnection({
      ...own,
      engine: this,
      profile,
      random: this.#options.random.between(1, 0x7fffffff),
      localAddress: slot(local),
      peerAddress: slot(peer),
    });
    this.connections.add(connection);
    return connection;
  }
}
