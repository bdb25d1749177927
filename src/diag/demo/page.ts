/** The page behind the tunnel, and fetching it byte by byte: HTTP/1.1 over a plain connection, so that no proxy gets in between. */
import { readToEnd, writeAll } from "./stream.ts";

/** What the service `web` answers. */
export const PAGE = `<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>Behind the gateway</title>
<style>body { font: 1.2rem/1.5 system-ui, sans-serif; max-width: 34rem; margin: 15vh auto; padding: 0 1rem }</style>
<h1>You came through the tunnel.</h1>
<p>This page is served on a port of 127.0.0.1 that nobody told you. Your request went to the agent, from there over QUIC with
mutual TLS to the server, and on to the connector, which had dialled out itself. No listener faces the outside here.</p>
</html>
`;

const ANSWER_BYTES_MAX = 64 * 1024;

/** What came back. */
export interface FetchedPage {
  readonly status: number;
  readonly body: string;
  /** From the connect to the last byte. */
  readonly ms: number;
}

/** Gets `/` from a local port. Throws when the answer is not HTTP. */
export async function fetchPage(port: number): Promise<FetchedPage> {
  const started = performance.now();
  using connection = await Deno.connect({ hostname: "127.0.0.1", port });
  await requestPage(connection, port);
  const answer = new TextDecoder().decode(await readToEnd(connection, ANSWER_BYTES_MAX));
  const ms = performance.now() - started;
  const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(answer)?.[1] ?? NaN);
  const end = answer.indexOf("\r\n\r\n");
  if (!Number.isInteger(status) || end < 0) throw new Error("the answer is not HTTP");
  return { status, body: answer.slice(end + 4), ms };
}

/** Asks for `/`. */
export async function requestPage(connection: Deno.TcpConn, port: number): Promise<void> {
  const request = `GET / HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nAccept-Encoding: identity\r\nConnection: close\r\n\r\n`;
  await writeAll(connection, new TextEncoder().encode(request));
}
