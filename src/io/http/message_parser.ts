/**
 * http-parser-js behind two functions. The library is forgiving and knows no limits but its own, so a request comes here only
 * after `request_head.ts` found it unambiguous, and a response only from our own server.
 */
import { Buffer } from "node:buffer";
import { HTTPParser } from "http-parser-js";
import type { HttpRequest } from "./message.ts";

/** A parsed head: what {@linkcode HttpRequest} has, without the body. */
export interface ParsedRequest extends Omit<HttpRequest, "body"> {
  readonly keepAlive: boolean;
}

/** Parses a head that was checked. Null when the library refuses it: an unknown method. */
export function parseRequestHead(head: Uint8Array): ParsedRequest | null {
  const parser = new HTTPParser(HTTPParser.REQUEST);
  let parsed: ParsedRequest | null = null;
  parser[HTTPParser.kOnHeadersComplete] = (info) => {
    const question = info.url.indexOf("?");
    parsed = {
      method: HTTPParser.methods[info.method] ?? "",
      path: question < 0 ? info.url : info.url.slice(0, question),
      query: new URLSearchParams(question < 0 ? "" : info.url.slice(question + 1)),
      headers: headerMap(info.headers),
      keepAlive: info.shouldKeepAlive,
    };
    // The body is counted by the caller.
    return 1;
  };
  const taken = parser.execute(Buffer.from(head.buffer, head.byteOffset, head.length));
  return taken instanceof Error ? null : parsed;
}

export interface ResponseEvents {
  onHead(status: number, headers: ReadonlyMap<string, string>): void;
  onBody(piece: Uint8Array): void;
  onEnd(): void;
}

/** A parser of responses; `execute` takes bytes as they come and returns whether they were well formed. */
export function responseParser(events: ResponseEvents): { execute(bytes: Uint8Array): boolean } {
  const parser = new HTTPParser(HTTPParser.RESPONSE);
  parser[HTTPParser.kOnHeadersComplete] = (info) => {
    // Anything returned here would tell the library that no body follows.
    events.onHead(info.statusCode, headerMap(info.headers));
  };
  parser[HTTPParser.kOnBody] = (chunk, offset, length) => events.onBody(new Uint8Array(chunk.subarray(offset, offset + length)));
  parser[HTTPParser.kOnMessageComplete] = () => events.onEnd();
  return { execute: (bytes) => !(parser.execute(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)) instanceof Error) };
}

function headerMap(pairs: readonly string[]): ReadonlyMap<string, string> {
  const headers = new Map<string, string>();
  for (let i = 0; i + 1 < pairs.length; i += 2) {
    const name = (pairs[i] ?? "").toLowerCase();
    const before = headers.get(name);
    headers.set(name, before === undefined ? pairs[i + 1] ?? "" : `${before}, ${pairs[i + 1] ?? ""}`);
  }
  return headers;
}
