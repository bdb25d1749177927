/**
 * The bytes of `postern_cert_summary` → {@linkcode CertificateSummary}. The layout stands in ffi/native/src/cert.rs: a fixed
 * head (version, flags, times, digests), then texts with their length before them. Nothing is interpreted here: what a name
 * is, and which certificate is refused for one, was decided by the parser that also verified it.
 */
import { Buffer } from "node:buffer";
import type { CertificateSummary } from "../../src/core/quic/engine.ts";

const LAYOUT_VERSION = 1;
const HAS_COMMON_NAME = 1;
const IS_SELF_SIGNED = 2;
const FLAGS = HAS_COMMON_NAME | IS_SELF_SIGNED;

/** Offsets of the head; the texts follow. */
const HEAD = { version: 0, flags: 1, notBefore: 2, notAfter: 10, fingerprint: 18, spki: 50, texts: 82 } as const;
const DIGEST_BYTES = 32;
/** Made once: to make one costs more than to use it. */
const DECODER = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Null when the bytes are not exactly one summary. */
export function decodeCertificateSummary(bytes: Uint8Array): CertificateSummary | null {
  if (bytes.length < HEAD.texts || bytes[HEAD.version] !== LAYOUT_VERSION) return null;
  const flags = bytes[HEAD.flags] ?? 0xff;
  if ((flags & ~FLAGS) !== 0) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const texts = new TextReader(bytes, view, HEAD.texts);
  const serial = texts.text();
  const commonName = texts.text();
  const subject = texts.text();
  const issuer = texts.text();
  const dnsNames = texts.list();
  const uris = texts.list();
  const ipAddresses = texts.list();
  if (!texts.isComplete()) return null;
  return {
    commonName: (flags & HAS_COMMON_NAME) === 0 ? null : commonName,
    subject,
    issuer,
    serial,
    dnsNames,
    uris,
    ipAddresses,
    notBeforeMs: Number(view.getBigInt64(HEAD.notBefore, true)),
    notAfterMs: Number(view.getBigInt64(HEAD.notAfter, true)),
    fingerprint: bytesAt(bytes, HEAD.fingerprint).toString("hex"),
    spkiSha256: bytesAt(bytes, HEAD.spki).toString("base64"),
    isSelfSigned: (flags & IS_SELF_SIGNED) !== 0,
  };
}

function bytesAt(bytes: Uint8Array, offset: number): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset + offset, DIGEST_BYTES);
}

/** Reads texts one behind the other; once something does not fit, everything is empty and {@linkcode isComplete} is false. */
class TextReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #offset: number;
  #isBroken = false;

  constructor(bytes: Uint8Array, view: DataView, offset: number) {
    this.#bytes = bytes;
    this.#view = view;
    this.#offset = offset;
  }

  text(): string {
    const length = this.#length();
    const end = this.#offset + length;
    if (this.#isBroken || end > this.#bytes.length) return this.#break();
    const text = this.#decode(this.#bytes.subarray(this.#offset, end));
    this.#offset = end;
    return text;
  }

  list(): string[] {
    const count = this.#length();
    const texts: string[] = [];
    for (let index = 0; index < count && !this.#isBroken; index++) texts.push(this.text());
    return texts;
  }

  /** Whether every byte was read and every text was one. */
  isComplete(): boolean {
    return !this.#isBroken && this.#offset === this.#bytes.length;
  }

  #length(): number {
    if (this.#isBroken || this.#offset + 2 > this.#bytes.length) {
      this.#break();
      return 0;
    }
    const length = this.#view.getUint16(this.#offset, true);
    this.#offset += 2;
    return length;
  }

  #decode(bytes: Uint8Array): string {
    try {
      return DECODER.decode(bytes);
    } catch {
      return this.#break();
    }
  }

  #break(): string {
    this.#isBroken = true;
    return "";
  }
}
