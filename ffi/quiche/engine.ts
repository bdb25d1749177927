/**
 * {@linkcode Engine} over quiche. One object per isolate: it owns a scratch region of the arena in which every call passes its
 * structures, so that nothing is allocated between a packet and the next.
 */
import type {
  Arena,
  CertificateSummary,
  Engine,
  EngineConnection,
  EngineProfile,
  EngineProfileOptions,
  ExpectedName,
} from "../../src/core/quic/engine.ts";
import { PosternError } from "../../src/base/mod.ts";
import { AddressMemo, addressOf, AddressTable, big } from "../address.ts";
import { QUICHE_SYMBOLS, type QuicheSymbols } from "./symbols.ts";
import { wordAt, WORDS_BYTES } from "./words.ts";
import { createQuicheProfile, QuicheProfile } from "./profile.ts";
import { QuicheConnection } from "./connection.ts";

export type QuicheLibrary = QuicheSymbols;

const AF_INET = 2;
const SOCKADDR_STORAGE_BYTES = 128;
/** struct quiche_send_info: from, from_len, to, to_len, at. */
const SEND_INFO_BYTES = 2 * (SOCKADDR_STORAGE_BYTES + 8) + 16;
const RECV_INFO_BYTES = 32;
const STRUCT_BYTES = 1024;

/** Bytes of arena that the engine needs for itself. */
export const ENGINE_SCRATCH_BYTES = 64 + RECV_INFO_BYTES + SEND_INFO_BYTES + STRUCT_BYTES + WORDS_BYTES;

/** The engine's scratch: fixed places in the arena, with their addresses. */
export interface Scratch {
  readonly values: number;
  readonly valuesAddress: bigint;
  readonly recvInfo: number;
  readonly recvInfoAddress: bigint;
  readonly sendInfo: number;
  readonly sendInfoAddress: bigint;
  /** For structures that quiche fills: statistics, path events. */
  readonly struct: number;
  readonly structAddress: bigint;
  /** For connection IDs and tokens, see `words.ts`. */
  readonly words: number;
}

/** What the parts of the binding share. */
export interface QuicheContext {
  readonly library: QuicheLibrary;
  readonly arena: Arena;
  readonly address: AddressTable;
  readonly scratch: Scratch;
  /** For the buffers of received datagrams, of datagrams to send and of streams: each role has one of each. */
  readonly datagramIn: AddressMemo;
  readonly datagramOut: AddressMemo;
  readonly streamChunk: AddressMemo;
  /** The slots that the structure of `quiche_conn_recv` names now. */
  recvFrom: number;
  recvTo: number;
  /** Set by the last `streamRecv`. */
  streamFin: boolean;
  streamErrorCode: number;
  /** Reads a DER certificate with the library's parser; null when it is damaged. */
  readonly summarize: ReadCertificate;
}

export type ReadCertificate = (der: Uint8Array<ArrayBuffer>) => CertificateSummary | null;

/** Opens the library at `path` (already checked) over `arena`; `scratch` is the offset of {@linkcode ENGINE_SCRATCH_BYTES}. */
export function createQuicheEngine(path: string, arena: Arena, scratch: number, summarize: ReadCertificate): Engine {
  const library = Deno.dlopen(path, QUICHE_SYMBOLS).symbols;
  return new QuicheEngine(createContext(library, arena, scratch, summarize));
}

class QuicheEngine implements Engine {
  readonly arena: Arena;
  readonly sendFrom: number;
  readonly sendTo: number;
  readonly #context: QuicheContext;
  readonly #library: QuicheLibrary;

  constructor(context: QuicheContext) {
    this.#context = context;
    this.#library = context.library;
    this.arena = context.arena;
    this.sendFrom = context.scratch.sendInfo;
    this.sendTo = context.scratch.sendInfo + SOCKADDR_STORAGE_BYTES + 8;
  }

  get streamFin(): boolean {
    return this.#context.streamFin;
  }

  set streamFin(isEnd: boolean) {
    this.#context.streamFin = isEnd;
  }

  get streamErrorCode(): number {
    return this.#context.streamErrorCode;
  }

  createProfile(options: EngineProfileOptions): EngineProfile {
    return createQuicheProfile(this.#library, options);
  }

  accept(
    profile: EngineProfile,
    sourceId: Uint8Array,
    originalDestinationId: Uint8Array | null,
    resetToken: Uint8Array,
    local: number,
    peer: number,
  ): EngineConnection | null {
    const context = this.#context;
    // quiche copies it from the configuration into the new connection's transport parameters.
    this.#library.quiche_config_set_stateless_reset_token(configOf(profile), wordAt(context, 0, resetToken));
    const handle = this.#library.quiche_accept(
      wordAt(context, 1, sourceId),
      big(sourceId.length),
      originalDestinationId === null ? 0n : wordAt(context, 2, originalDestinationId),
      originalDestinationId === null ? 0n : big(originalDestinationId.length),
      ...this.#addresses(local, peer),
      configOf(profile),
    );
    return handle === 0n ? null : new QuicheConnection(this.#context, handle);
  }

  connect(
    profile: EngineProfile,
    expected: ExpectedName,
    sourceId: Uint8Array,
    local: number,
    peer: number,
  ): EngineConnection | null {
    const handle = this.#library.quiche_connect(
      0n,
      addressOf(sourceId),
      big(sourceId.length),
      ...this.#addresses(local, peer),
      configOf(profile),
    );
    if (handle === 0n) return null;
    const connection = new QuicheConnection(this.#context, handle);
    if (expected === null || connection.expectName(expected)) return connection;
    connection.free();
    throw new PosternError(`not a name that a certificate can have: ${expected}`, {
      code: "server-name",
      exitCode: 2,
      hint: "give a DNS name or an IP address with --server-name",
    });
  }

  writeRetry(
    packet: number,
    capacity: number,
    destinationId: Uint8Array,
    sourceId: Uint8Array,
    newSourceId: Uint8Array,
    token: Uint8Array,
    version: number,
  ): number {
    const context = this.#context;
    return this.#library.quiche_retry(
      wordAt(context, 0, sourceId),
      big(sourceId.length),
      wordAt(context, 1, destinationId),
      big(destinationId.length),
      wordAt(context, 2, newSourceId),
      big(newSourceId.length),
      wordAt(context, 3, token),
      big(token.length),
      version,
      context.address.at(packet),
      big(capacity),
    );
  }

  writeVersionNegotiation(packet: number, capacity: number, destinationId: Uint8Array, sourceId: Uint8Array): number {
    // Longer IDs exist only in other versions (RFC 8999 §5.1), and quiche does not write them.
    if (destinationId.length > 20 || sourceId.length > 20) return -1;
    return this.#library.quiche_negotiate_version(
      addressOf(sourceId),
      big(sourceId.length),
      addressOf(destinationId),
      big(destinationId.length),
      this.#context.address.at(packet),
      big(capacity),
    );
  }

  #addresses(local: number, peer: number): [bigint, number, bigint, number] {
    const { address, arena } = this.#context;
    const bytes = (offset: number) => arena.bytes[offset] === AF_INET ? 16 : 28;
    return [address.at(local), bytes(local), address.at(peer), bytes(peer)];
  }
}

function configOf(profile: EngineProfile): bigint {
  if (!(profile instanceof QuicheProfile)) throw new Error("postern: internal error: a profile of another engine");
  return profile.config;
}

function createContext(library: QuicheLibrary, arena: Arena, scratch: number, summarize: ReadCertificate): QuicheContext {
  const address = new AddressTable(arena);
  const recvInfo = scratch + 64, sendInfo = recvInfo + RECV_INFO_BYTES, struct = sendInfo + SEND_INFO_BYTES;
  const words = struct + STRUCT_BYTES;
  const places: Scratch = {
    values: scratch,
    valuesAddress: address.at(scratch),
    recvInfo,
    recvInfoAddress: address.at(recvInfo),
    sendInfo,
    sendInfoAddress: address.at(sendInfo),
    struct,
    structAddress: address.at(struct),
    words,
  };
  return {
    library,
    arena,
    address,
    scratch: places,
    datagramIn: new AddressMemo(address),
    datagramOut: new AddressMemo(address),
    streamChunk: new AddressMemo(address),
    recvFrom: -1,
    recvTo: -1,
    streamFin: false,
    streamErrorCode: 0,
    summarize,
  };
}
