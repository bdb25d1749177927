/**
 * A QUIC client and server of the native library, joined in memory: packets that one gives out are given to the other until
 * both are silent. Nothing but the symbol table is between the test and the library; no socket, no time.
 */
import { loadNative } from "../../ffi/load.ts";
import { ConfigFlag, QUICHE_SYMBOLS } from "../../ffi/quiche/symbols.ts";
import { takeBytes, takeText } from "../../ffi/text.ts";
import { createUncheckedConfig } from "./unchecked_config.ts";
import { createAuthority, type Issued } from "../pki/mod.ts";

export const library = Deno.dlopen(loadNative().path, QUICHE_SYMBOLS).symbols;

/** One end's configuration. `verify` as in the engine's interface. */
export interface EndOptions {
  readonly side: "server" | "client";
  readonly identity: Pick<Issued, "certificatePem" | "privateKeyPem"> | null;
  readonly verify: "require" | "if-given" | "off";
  readonly trustPem?: Uint8Array<ArrayBuffer>;
  readonly crlPem?: Uint8Array<ArrayBuffer>;
  readonly toleratesStaleCrl?: boolean;
  readonly groups?: string;
  /** A client that presents its certificate whatever it is, and verifies nobody. */
  readonly isUnchecked?: boolean;
  /** Streams that the other end may open. */
  readonly streamsMax?: bigint;
}

const VERIFY_FLAGS = {
  require: ConfigFlag.peerRequired,
  "if-given": ConfigFlag.peerIfGiven,
  off: ConfigFlag.peerUnverified,
} as const;
const PACKET_BYTES = 1350;
const ROUNDS_MAX = 200;

export function addressOf(bytes: Uint8Array<ArrayBuffer>): bigint {
  return BigInt(Deno.UnsafePointer.value(Deno.UnsafePointer.of(bytes)));
}

/** Throws the library's words when the material does not fit. */
export function createConfig(options: EndOptions): bigint {
  const config = options.isUnchecked === true && options.identity !== null
    ? createUncheckedConfig(options.identity)
    : createCheckedConfig(options);
  const protocols = new TextEncoder().encode("\x04test");
  library.quiche_config_set_application_protos(config, addressOf(protocols), BigInt(protocols.length));
  library.quiche_config_set_max_recv_udp_payload_size(config, BigInt(PACKET_BYTES));
  library.quiche_config_set_max_send_udp_payload_size(config, BigInt(PACKET_BYTES));
  library.quiche_config_set_initial_max_data(config, 1_000_000n);
  library.quiche_config_set_initial_max_stream_data_bidi_local(config, 100_000n);
  library.quiche_config_set_initial_max_stream_data_bidi_remote(config, 100_000n);
  library.quiche_config_set_initial_max_streams_bidi(config, options.streamsMax ?? 8n);
  library.quiche_config_enable_dgram(config, true, 16n, 16n);
  return config;
}

function createCheckedConfig(options: EndOptions): bigint {
  const nothing = new Uint8Array(0);
  const texts = [
    options.identity?.certificatePem ?? nothing,
    options.identity?.privateKeyPem ?? nothing,
    options.trustPem ?? nothing,
    options.crlPem ?? nothing,
    new TextEncoder().encode(options.groups ?? ""),
  ];
  const spans = texts.map((text) => [text.length === 0 ? 0n : addressOf(text), BigInt(text.length)] as const);
  const [certificate, key, trust, crl, groups] = spans as [Span, Span, Span, Span, Span];
  const flags = (options.side === "server" ? ConfigFlag.server : 0) | VERIFY_FLAGS[options.verify] |
    (options.toleratesStaleCrl === true ? ConfigFlag.staleCrlOk : 0);
  const config = library.postern_config_new(...certificate, ...key, ...trust, ...crl, ...groups, flags);
  if (config === 0n) throw new Error(text((out, capacity) => library.postern_last_error(out, capacity)));
  return config;
}

type Span = readonly [bigint, bigint];

/** The answer of a library function that takes an address rather than a buffer. */
export function text(give: (out: bigint, capacity: bigint) => number): string {
  return takeText((out, capacity) => give(out === null ? 0n : addressOf(out), capacity));
}

export function bytes(give: (out: bigint, capacity: bigint) => number): Uint8Array<ArrayBuffer> | null {
  return takeBytes((out, capacity) => give(out === null ? 0n : addressOf(out), capacity));
}

export class QuicPair {
  readonly client: bigint;
  server = 0n;
  readonly datagramsFrom = { client: 0, server: 0 };
  readonly bytesFrom = { client: 0, server: 0 };
  readonly #configs: readonly bigint[];
  readonly #memory = new Uint8Array(8192);
  readonly #view = new DataView(this.#memory.buffer);
  readonly #base = addressOf(this.#memory);

  /** `expected` null: no name is set, as when the caller forgot. */
  constructor(client: EndOptions, server: EndOptions, expected: string | null) {
    this.#configs = [createConfig(client), createConfig(server)];
    this.#writeAddresses();
    const id = this.#id(0);
    this.client = library.quiche_connect(0n, id, 16n, this.#at(CLIENT), 16, this.#at(SERVER), 16, this.#configs[0] ?? 0n);
    if (expected !== null) {
      const name = new TextEncoder().encode(expected);
      const done = library.postern_conn_expect_name(this.client, addressOf(name), BigInt(name.length));
      if (done < 0) throw new Error(text((out, capacity) => library.postern_last_error(out, capacity)));
    }
  }

  /** Carries packets to and fro until nobody has any. */
  run(): void {
    for (let round = 0; round < ROUNDS_MAX; round++) {
      const moved = this.carry("client") + this.carry("server");
      if (moved === 0) return;
    }
    throw new Error("the two ends do not come to rest");
  }

  /** Carries the packets that one end has to send now, of so many bytes at most, or loses them. Returns how many there were. */
  carry(from: "client" | "server", isLost = false, bytesMax = PACKET_BYTES): number {
    const sender = from === "client" ? this.client : this.server;
    if (sender === 0n) return 0;
    for (let moved = 0;; moved++) {
      const length = library.quiche_conn_send(sender, this.#at(PACKET), BigInt(bytesMax), this.#at(SEND_INFO));
      if (length <= 0) return moved;
      this.datagramsFrom[from]++;
      this.bytesFrom[from] += length;
      if (from === "client" && this.server === 0n) this.#accept();
      if (!isLost) this.#deliver(from, length);
    }
  }

  isEstablished(): { readonly client: boolean; readonly server: boolean } {
    return {
      client: library.quiche_conn_is_established(this.client),
      server: this.server !== 0n && library.quiche_conn_is_established(this.server),
    };
  }

  /** The transport error that an end gave as its reason to close (0x100 and a TLS alert, RFC 9001 §4.8), or null. */
  closeCode(side: "client" | "server"): number | null {
    const conn = side === "client" ? this.client : this.server;
    const at = this.#at(VALUES);
    if (conn === 0n || !library.quiche_conn_local_error(conn, at, at + 8n, at + 16n, at + 24n)) return null;
    return Number(this.#view.getBigUint64(VALUES + 8, true));
  }

  verifyError(side: "client" | "server"): string {
    const conn = side === "client" ? this.client : this.server;
    return text((out, capacity) => library.postern_conn_verify_error(conn, out, capacity));
  }

  /** Memory for the library to write to. */
  scratch(size: number): { readonly memory: Uint8Array<ArrayBuffer>; readonly address: bigint } {
    const memory = new Uint8Array(size);
    return { memory, address: addressOf(memory) };
  }

  [Symbol.dispose](): void {
    // Configurations go first: connections must survive that.
    for (const config of this.#configs) library.quiche_config_free(config);
    library.quiche_conn_free(this.client);
    if (this.server !== 0n) library.quiche_conn_free(this.server);
  }

  #deliver(from: "client" | "server", length: number): void {
    const receiver = from === "client" ? this.server : this.client;
    this.#view.setBigUint64(RECV_INFO, this.#at(from === "client" ? CLIENT : SERVER), true);
    this.#view.setUint32(RECV_INFO + 8, 16, true);
    this.#view.setBigUint64(RECV_INFO + 16, this.#at(from === "client" ? SERVER : CLIENT), true);
    this.#view.setUint32(RECV_INFO + 24, 16, true);
    library.quiche_conn_recv(receiver, this.#at(PACKET), BigInt(length), this.#at(RECV_INFO));
  }

  #accept(): void {
    const id = this.#id(1);
    this.server = library.quiche_accept(id, 16n, 0n, 0n, this.#at(SERVER), 16, this.#at(CLIENT), 16, this.#configs[1] ?? 0n);
  }

  #writeAddresses(): void {
    for (const [slot, port] of [[CLIENT, 1111], [SERVER, 2222]] as const) {
      this.#view.setUint16(slot, 2, true);
      this.#view.setUint16(slot + 2, port);
      this.#memory.set([127, 0, 0, 1], slot + 4);
    }
  }

  #id(slot: number): bigint {
    crypto.getRandomValues(this.#memory.subarray(IDS + slot * 16, IDS + slot * 16 + 16));
    return this.#at(IDS + slot * 16);
  }

  #at(offset: number): bigint {
    return this.#base + BigInt(offset);
  }
}

/** Places in a pair's memory. */
const CLIENT = 0, SERVER = 32, RECV_INFO = 64, SEND_INFO = 128, IDS = 512, VALUES = 576, PACKET = 1024;

/** Two ends that trust each other and have finished their handshake; the server is `server.test`. */
export async function connectedPair(options: Pick<EndOptions, "streamsMax"> = {}): Promise<QuicPair> {
  const authority = await createAuthority();
  const server = await authority.issue({ commonName: "server", dns: ["server.test"], eku: ["serverAuth"] });
  const client = await authority.issue({ commonName: "client", eku: ["clientAuth"] });
  const trustPem = authority.certificatePem;
  const pair = new QuicPair(
    { side: "client", identity: client, verify: "require", trustPem, ...options },
    { side: "server", identity: server, verify: "require", trustPem, ...options },
    "server.test",
  );
  pair.run();
  return pair;
}
