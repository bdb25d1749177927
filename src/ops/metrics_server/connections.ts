/** The scrapers' connections that stand now, for `status`: over TCP what the peers are over QUIC. The listener bounds their number. */
import type { CertificateSummary, TlsConnection } from "../../io/http/mod.ts";

/** One TLS connection over TCP. Bytes are ciphertext, handshake included; times are milliseconds since 1970. */
export interface TcpConnectionStatus {
  readonly listener: "metrics";
  readonly certificate: CertificateSummary | null;
  readonly remoteAddr: string;
  readonly tlsVersion: string;
  readonly cipherSuite: string;
  readonly group: string;
  readonly establishedAtMs: number;
  readonly lastActivityMs: number;
  readonly bytesSent: number;
  readonly bytesReceived: number;
  readonly requests: number;
}

interface Entry {
  readonly connection: TlsConnection;
  readonly establishedAtMs: number;
  requests: number;
}

export class ScrapeConnections {
  readonly #live = new Set<Entry>();

  /** Lists the connection until `serve` settles; `serve` calls what it is given once for each request. */
  async during(connection: TlsConnection, serve: (onRequest: () => void) => Promise<void>): Promise<void> {
    const entry: Entry = { connection, establishedAtMs: Date.now(), requests: 0 };
    this.#live.add(entry);
    try {
      await serve(() => entry.requests++);
    } finally {
      this.#live.delete(entry);
    }
  }

  /** Oldest first. */
  list(): TcpConnectionStatus[] {
    return [...this.#live].map(({ connection, establishedAtMs, requests }) => ({
      listener: "metrics",
      certificate: connection.certificate,
      remoteAddr: connection.remote,
      tlsVersion: connection.version.replace(/^TLSv/, "TLS "),
      cipherSuite: connection.cipher,
      group: connection.group,
      establishedAtMs,
      lastActivityMs: connection.stream.lastActivityMs,
      bytesSent: connection.stream.bytesSent,
      bytesReceived: connection.stream.bytesReceived,
      requests,
    }));
  }
}
