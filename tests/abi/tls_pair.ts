/** A TLS client and server of the native library, joined in memory: what one drains is fed to the other. */
import { loadNative } from "../../ffi/load.ts";
import { createTlsEngine } from "../../ffi/tls/mod.ts";
import { type TlsContextOptions, type TlsEnd, TlsResult } from "../../src/io/tls_end.ts";
import type { EndOptions } from "./quic_pair.ts";

export const engine = createTlsEngine(loadNative().path);

const ROUNDS_MAX = 100;

export function contextOptions(options: EndOptions, protocols: readonly string[] = []): TlsContextOptions {
  const { identity, verify, trustPem = new Uint8Array(0), crlPem = null } = options;
  return {
    side: options.side,
    identity: identity === null ? null : { certificateChainPem: identity.certificatePem, privateKeyPem: identity.privateKeyPem },
    verify: verify === "off" ? { kind: "off" } : { kind: verify, trustPem, crlPem },
    toleratesStaleCrl: options.toleratesStaleCrl ?? false,
    protocols,
  };
}

export class TlsPair {
  readonly client: TlsEnd;
  readonly server: TlsEnd;
  readonly results = { client: TlsResult.wants as number, server: TlsResult.wants as number };

  constructor(client: TlsContextOptions, server: TlsContextOptions, expected: string | null) {
    // The contexts are gone before the first byte: ends must survive that.
    using clientContext = engine.createContext(client);
    using serverContext = engine.createContext(server);
    this.client = clientContext.createEnd(expected);
    this.server = serverContext.createEnd(null);
  }

  /** Shakes hands until both have an outcome or nothing moves. */
  handshake(): void {
    for (let round = 0; round < ROUNDS_MAX; round++) {
      if (this.results.client !== TlsResult.failed) this.results.client = this.client.handshake();
      const toServer = move(this.client, this.server);
      if (this.results.server !== TlsResult.failed) this.results.server = this.server.handshake();
      const toClient = move(this.server, this.client);
      if (toServer + toClient === 0) return;
    }
    throw new Error("the two ends do not come to rest");
  }

  [Symbol.dispose](): void {
    this.client[Symbol.dispose]();
    this.server[Symbol.dispose]();
  }
}

/** Carries what `from` has to `to`, as far as it takes it. Returns the bytes. */
export function move(from: TlsEnd, to: TlsEnd): number {
  const buffer = new Uint8Array(4096);
  let moved = 0;
  for (;;) {
    const length = from.drain(buffer);
    if (length === 0) return moved;
    let fed = 0;
    while (fed < length) {
      const taken = to.feed(buffer.subarray(fed, length));
      if (taken <= 0) throw new Error("the receiving ring is full");
      fed += taken;
    }
    moved += length;
  }
}
