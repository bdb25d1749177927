/**
 * {@linkcode TlsEnd} and {@linkcode TlsContext} over the native library. Each object owns one native handle and frees it when
 * it is disposed of; a call afterwards is a programming error that stops here and not in the library.
 */
import { Buffer } from "node:buffer";
import { assert, PosternError } from "../../src/base/mod.ts";
import type { CertificateSummary, ExpectedName, PeerVerification } from "../../src/core/quic/engine.ts";
import type { TlsContext, TlsContextOptions, TlsEnd } from "../../src/io/tls_end.ts";
import { decodeCertificateSummary } from "../certs/mod.ts";
import { ConfigFlag } from "../quiche/symbols.ts";
import { splitList, takeBytes, takeText } from "../text.ts";
import { TLS_SYMBOLS, type TlsSymbols } from "./symbols.ts";

const ENCODER = new TextEncoder();
const NOTHING = new Uint8Array(0);
const PROTOCOL_BYTES_MAX = 255;

/** Makes TLS contexts from PEM text in memory. */
export interface TlsEngine {
  /** Throws {@linkcode PosternError} `tls-material` with the library's words when the material does not fit together. */
  createContext(options: TlsContextOptions): TlsContext;
}

/** Opens the library at `path`, see `loadNative`. */
export function createTlsEngine(path: string): TlsEngine {
  const library = Deno.dlopen(path, TLS_SYMBOLS).symbols;
  return { createContext: (options) => new NativeTlsContext(library, options) };
}

class NativeTlsContext implements TlsContext {
  readonly #library: TlsSymbols;
  readonly #isServer: boolean;
  #handle: bigint;

  constructor(library: TlsSymbols, options: TlsContextOptions) {
    this.#library = library;
    this.#isServer = options.side === "server";
    const { identity, verify } = options;
    const texts = [
      identity?.certificateChainPem ?? NOTHING,
      identity?.privateKeyPem ?? NOTHING,
      verify.kind === "off" ? NOTHING : verify.trustPem,
      verify.kind === "off" ? NOTHING : verify.crlPem ?? NOTHING,
      NOTHING,
      encodeProtocols(options.protocols),
    ].map((text) => new Uint8Array(text));
    const [certificate = NOTHING, key = NOTHING, trust = NOTHING, crl = NOTHING, groups = NOTHING, protocols = NOTHING] = texts;
    this.#handle = library.postern_tls_context_new(
      certificate,
      BigInt(certificate.length),
      key,
      BigInt(key.length),
      trust,
      BigInt(trust.length),
      crl,
      BigInt(crl.length),
      groups,
      BigInt(groups.length),
      protocols,
      BigInt(protocols.length),
      flagsOf(options),
    );
    key.fill(0);
    if (this.#handle === 0n) {
      throw new PosternError(`the TLS material does not fit: ${lastError(library)}`, {
        code: "tls-material",
        hint: "check the certificate, the key and the CA with `postern certs check`",
      });
    }
  }

  createEnd(expected: ExpectedName): TlsEnd {
    assert(this.#handle !== 0n, "a freed TLS context was used");
    assert(!this.#isServer || expected === null, "a server expects no name of its clients");
    const name = ENCODER.encode(expected ?? "");
    const handle = this.#library.postern_tls_new(this.#handle, name, BigInt(name.length));
    if (handle === 0n) throw new PosternError(lastError(this.#library), { code: "server-name", exitCode: 2 });
    return new NativeTlsEnd(this.#library, handle);
  }

  [Symbol.dispose](): void {
    if (this.#handle === 0n) return;
    this.#library.postern_tls_context_free(this.#handle);
    this.#handle = 0n;
  }
}

class NativeTlsEnd implements TlsEnd {
  readonly #library: TlsSymbols;
  #handle: bigint;

  constructor(library: TlsSymbols, handle: bigint) {
    this.#library = library;
    this.#handle = handle;
  }

  /** The handle, while it is ours. */
  get #live(): bigint {
    assert(this.#handle !== 0n, "a freed TLS end was used");
    return this.#handle;
  }

  feed(bytes: Uint8Array<ArrayBuffer>): number {
    return this.#library.postern_tls_feed(this.#live, bytes, BigInt(bytes.length));
  }

  feedEnd(): void {
    this.#library.postern_tls_feed_end(this.#live);
  }

  drain(into: Uint8Array<ArrayBuffer>): number {
    return this.#library.postern_tls_drain(this.#live, into, BigInt(into.length));
  }

  pendingBytes(): number {
    return this.#library.postern_tls_pending(this.#live);
  }

  handshake(): number {
    return this.#library.postern_tls_handshake(this.#live);
  }

  read(into: Uint8Array<ArrayBuffer>): number {
    return this.#library.postern_tls_read(this.#live, into, BigInt(into.length));
  }

  write(bytes: Uint8Array<ArrayBuffer>): number {
    return this.#library.postern_tls_write(this.#live, bytes, BigInt(bytes.length));
  }

  shutdown(): number {
    return this.#library.postern_tls_shutdown(this.#live);
  }

  failure(): string {
    const end = this.#live;
    return takeText((out, capacity) => this.#library.postern_tls_error(end, out, capacity));
  }

  alerts(): { readonly sent: number | null; readonly received: number | null } {
    const of = (fromPeer: number) => {
      const description = this.#library.postern_tls_alert(this.#live, fromPeer);
      return description < 0 ? null : description;
    };
    return { sent: of(0), received: of(1) };
  }

  peerCertificate(): CertificateSummary | null {
    const end = this.#live;
    if (this.#library.postern_tls_peer_verified(end) !== 1) return null;
    const chain = takeBytes((out, capacity) => this.#library.postern_tls_peer_chain(end, out, capacity));
    const leaf = chain === null ? undefined : splitList(chain)[0];
    return leaf === undefined ? null : this.#summarize(leaf);
  }

  verifyError(): { readonly reason: string; readonly offered: CertificateSummary | null } | null {
    const end = this.#live;
    const reason = takeText((out, capacity) => this.#library.postern_tls_verify_error(end, out, capacity));
    if (reason === "") return null;
    const der = takeBytes((out, capacity) => this.#library.postern_tls_offered_cert(end, out, capacity));
    return { reason, offered: der === null || der.length === 0 ? null : this.#summarize(der) };
  }

  description(): { readonly version: string; readonly group: string; readonly cipher: string; readonly protocol: string } {
    const end = this.#live;
    return {
      version: takeText((out, capacity) => this.#library.postern_tls_version(end, out, capacity)),
      group: takeText((out, capacity) => this.#library.postern_tls_group(end, out, capacity)),
      cipher: takeText((out, capacity) => this.#library.postern_tls_cipher(end, out, capacity)),
      protocol: takeText((out, capacity) => this.#library.postern_tls_protocol(end, out, capacity)),
    };
  }

  exportKey(label: string, context: Uint8Array<ArrayBuffer>, length: number): Uint8Array<ArrayBuffer> | null {
    const name = ENCODER.encode(label);
    const key = new Uint8Array(length);
    const done = this.#library.postern_tls_export_key(
      this.#live,
      name,
      BigInt(name.length),
      context,
      BigInt(context.length),
      key,
      BigInt(length),
    );
    return done === length ? key : null;
  }

  [Symbol.dispose](): void {
    if (this.#handle === 0n) return;
    this.#library.postern_tls_free(this.#handle);
    this.#handle = 0n;
  }

  #summarize(der: Uint8Array<ArrayBuffer>): CertificateSummary | null {
    const bytes = takeBytes((out, capacity) => this.#library.postern_cert_summary(der, BigInt(der.length), out, capacity));
    return bytes === null ? null : decodeCertificateSummary(bytes);
  }
}

function flagsOf(options: TlsContextOptions): number {
  const side = options.side === "server" ? ConfigFlag.server : 0;
  return side | verificationFlag(options.verify) | (options.toleratesStaleCrl ? ConfigFlag.staleCrlOk : 0);
}

function verificationFlag(verify: PeerVerification): number {
  return { require: ConfigFlag.peerRequired, "if-given": ConfigFlag.peerIfGiven, off: ConfigFlag.peerUnverified }[verify.kind];
}

/** ALPN's list form: each name behind its length (RFC 7301 §3.1). */
function encodeProtocols(protocols: readonly string[]): Uint8Array {
  const names = protocols.map((protocol) => ENCODER.encode(protocol));
  for (const name of names) assert(name.length > 0 && name.length <= PROTOCOL_BYTES_MAX, "a protocol name has 1 to 255 bytes");
  return new Uint8Array(Buffer.concat(names.flatMap((name) => [Uint8Array.of(name.length), name])));
}

function lastError(library: TlsSymbols): string {
  return takeText((out, capacity) => library.postern_last_error(out, capacity)) || "unknown error";
}
