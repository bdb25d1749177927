/**
 * One TLS and transport configuration inside quiche, made from PEM text in memory. The trust, the revocation lists and the
 * verification of the peer are stated by the caller; nothing comes from the system.
 */
import type { CongestionControl, EngineProfile, EngineProfileOptions, PeerVerification } from "../../src/core/quic/engine.ts";
import { PosternError } from "../../src/base/mod.ts";
import { addressOf, big } from "../address.ts";
import type { QuicheLibrary } from "./engine.ts";
import { ConfigFlag } from "./symbols.ts";

/** Empty: the library's own list, X25519MLKEM768 first. */
const DEFAULT_GROUPS = new Uint8Array(0);

/** As the library calls them. */
const CONGESTION_CONTROLS: Readonly<Record<CongestionControl, string>> = { cubic: "cubic", bbr2: "bbr2_gcongestion" };

export class QuicheProfile implements EngineProfile {
  readonly #library: QuicheLibrary;
  #config: bigint;

  constructor(library: QuicheLibrary, config: bigint) {
    this.#library = library;
    this.#config = config;
  }

  /** The quiche_config; an error once it was freed. */
  get config(): bigint {
    if (this.#config === 0n) throw new Error("postern: internal error: a freed profile was used");
    return this.#config;
  }

  free(): void {
    if (this.#config === 0n) return;
    this.#library.quiche_config_free(this.#config);
    this.#config = 0n;
  }
}

/** Builds the configuration. Throws {@linkcode PosternError} with the library's words when the material does not fit. */
export function createQuicheProfile(library: QuicheLibrary, options: EngineProfileOptions): QuicheProfile {
  const { identity, verify } = options;
  const nothing = new Uint8Array(0);
  const material = [
    identity?.certificateChainPem ?? nothing,
    identity?.privateKeyPem ?? nothing,
    verify.kind === "off" ? nothing : verify.trustPem,
    verify.kind === "off" ? nothing : verify.crlPem ?? nothing,
    DEFAULT_GROUPS,
  ];
  const [certificate, key, trust, crl, groups] = material.map(span) as [Span, Span, Span, Span, Span];
  const flags = (options.side === "server" ? ConfigFlag.server : 0) | verificationFlag(verify);
  const config = library.postern_config_new(...certificate, ...key, ...trust, ...crl, ...groups, flags);
  if (config === 0n) {
    throw new PosternError(`the TLS material does not fit: ${lastError(library)}`, {
      code: "tls-material",
      hint: "check the certificate, the key and the CA with `postern certs check`",
    });
  }
  applyTransport(library, config, options);
  return new QuicheProfile(library, config);
}

function verificationFlag(verify: PeerVerification): number {
  const kind = {
    "require": ConfigFlag.peerRequired,
    "if-given": ConfigFlag.peerIfGiven,
    "off": ConfigFlag.peerUnverified,
  }[verify.kind];
  return verify.kind !== "off" && verify.toleratesStaleCrl === true ? kind | ConfigFlag.staleCrlOk : kind;
}

function applyTransport(library: QuicheLibrary, config: bigint, options: EngineProfileOptions): void {
  const limits = options.transport;
  const protocols = encodeProtocols(options.protocols);
  if (library.quiche_config_set_application_protos(config, ...span(protocols)) !== 0) {
    throw new Error("postern: internal error: malformed protocol list");
  }
  library.quiche_config_set_max_idle_timeout(config, big(limits.idleTimeoutMs));
  library.quiche_config_set_max_recv_udp_payload_size(config, big(limits.udpPayloadRecvMaxBytes));
  library.quiche_config_set_max_send_udp_payload_size(config, big(limits.udpPayloadSendMaxBytes));
  library.quiche_config_discover_pmtu(config, limits.discoverPathMtu);
  library.quiche_config_set_initial_max_data(config, big(limits.connectionWindowBytes));
  library.quiche_config_set_max_connection_window(config, big(limits.connectionWindowMaxBytes));
  library.quiche_config_set_use_initial_max_data_as_flow_control_win(config, true);
  library.quiche_config_set_initial_max_stream_data_bidi_local(config, big(limits.streamWindowBytes));
  library.quiche_config_set_initial_max_stream_data_bidi_remote(config, big(limits.streamWindowBytes));
  library.quiche_config_set_initial_max_stream_data_uni(config, 0n);
  library.quiche_config_set_max_stream_window(config, big(limits.streamWindowMaxBytes));
  library.quiche_config_set_initial_max_streams_bidi(config, big(limits.streamsBidiMax));
  library.quiche_config_set_initial_max_streams_uni(config, 0n);
  library.quiche_config_enable_dgram(config, true, big(limits.datagramQueueMax), big(limits.datagramQueueMax));
  library.quiche_config_set_active_connection_id_limit(config, big(limits.activeConnectionIdLimit));
  // Packets leave as the kernel takes them; quiche's release times would need timers of their own per packet.
  library.quiche_config_enable_pacing(config, false);
  const name = new TextEncoder().encode(`${CONGESTION_CONTROLS[limits.congestionControl]}\0`);
  if (library.quiche_config_set_cc_algorithm_name(config, addressOf(name)) !== 0) {
    throw new Error(`postern: internal error: unknown congestion control ${limits.congestionControl}`);
  }
}

type Span = readonly [bigint, bigint];

/** Bytes and their length, as a pair of parameters. */
function span(bytes: Uint8Array): Span {
  return [addressOf(bytes), big(bytes.length)];
}

/** ALPN's list form: each name behind its length (RFC 7301 §3.1). */
function encodeProtocols(protocols: readonly string[]): Uint8Array {
  const names = protocols.map((protocol) => new TextEncoder().encode(protocol));
  const out = new Uint8Array(names.reduce((sum, name) => sum + 1 + name.length, 0));
  let at = 0;
  for (const name of names) {
    out[at] = name.length;
    out.set(name, at + 1);
    at += 1 + name.length;
  }
  return out;
}

/** The library's words for the last failure of this thread. */
export function lastError(library: QuicheLibrary): string {
  const text = new Uint8Array(1024);
  const length = library.postern_last_error(...span(text));
  return new TextDecoder().decode(text.subarray(0, Math.max(0, Math.min(length, text.length)))) || "unknown error";
}
