/**
 * One HTTP connection from its first byte to its last: wait for a head, read the body, ask the handler, answer, again. One request
 * is handled at a time; what a client sends ahead waits in the kernel.
 */
import { DEFAULT_HTTP_LIMITS, type HttpLimits, LINGER_BYTES_MAX, LINGER_MS } from "./limits.ts";
import { encodeHead, errorResponse, type HttpHandler, type HttpRequest, type HttpResponse } from "./message.ts";
import { type ParsedRequest, parseRequestHead } from "./message_parser.ts";
import { checkHead, findHeadEnd } from "./request_head.ts";
import { type ByteStream, Deadline, StreamClosed } from "./stream.ts";

/** How a connection ended, for counters. */
export type HttpEnd = "closed" | "timeout" | "refused" | "failed";

/**
 * Serves requests until the peer leaves, breaks a rule or is too slow. Never throws; closes the stream. `onFailure` hears of a
 * handler that threw: its client gets 500 and no words of ours.
 */
export async function serveHttp(
  stream: ByteStream,
  handler: HttpHandler,
  onFailure: (error: unknown) => void,
  limits: HttpLimits = DEFAULT_HTTP_LIMITS,
): Promise<HttpEnd> {
  const connection = new Connection(stream, handler, onFailure, limits);
  try {
    return await connection.run();
  } catch (error) {
    if (!(error instanceof StreamClosed)) onFailure(error);
    return connection.deadline.missed ? "timeout" : "failed";
  } finally {
    connection.end();
  }
}

type Incoming = { readonly kind: "request"; readonly request: HttpRequest; readonly keepAlive: boolean } | {
  readonly kind: "refused";
  readonly response: HttpResponse;
  readonly body: Uint8Array<ArrayBuffer>;
} | { readonly kind: "end" };

class Connection {
  readonly deadline: Deadline;
  readonly #stream: ByteStream;
  readonly #handler: HttpHandler;
  readonly #onFailure: (error: unknown) => void;
  readonly #limits: HttpLimits;
  readonly #ended = new AbortController();
  #buffer: Uint8Array<ArrayBuffer>;
  #filled = 0;
  /** Requests taken from the buffer since the socket was last read. */
  #pipelined = 0;

  constructor(stream: ByteStream, handler: HttpHandler, onFailure: (error: unknown) => void, limits: HttpLimits) {
    this.#stream = stream;
    this.#handler = handler;
    this.#onFailure = onFailure;
    this.#limits = limits;
    this.deadline = new Deadline(stream);
    this.#buffer = new Uint8Array(limits.headBytesMax);
  }

  async run(): Promise<HttpEnd> {
    for (;;) {
      const incoming = await this.#receive();
      if (incoming.kind === "end") return "closed";
      if (incoming.kind === "refused") {
        await this.#send(incoming.response, incoming.body, false, true);
        await this.#linger();
        return "refused";
      }
      const response = await this.#answer(incoming.request);
      const headOnly = incoming.request.method === "HEAD";
      if (response.body instanceof Uint8Array) {
        await this.#send(response, response.body, headOnly, !incoming.keepAlive);
      } else {
        await this.#sendPieces(response, response.body, headOnly);
        return "closed";
      }
      if (!incoming.keepAlive) {
        await this.#linger();
        return "closed";
      }
    }
  }

  end(): void {
    this.deadline.clear();
    this.#ended.abort();
    this.#stream.close();
  }

  async #receive(): Promise<Incoming> {
    const limits = this.#limits;
    let searched = 0;
    this.deadline.set(this.#filled > 0 ? limits.requestMs : limits.idleMs);
    for (;;) {
      const headBytes = findHeadEnd(this.#buffer, this.#filled, searched);
      if (headBytes > 0) return await this.#receiveBody(headBytes);
      searched = this.#filled;
      if (this.#filled >= limits.headBytesMax) {
        return refused(431, "head-too-large", `the request head is longer than ${limits.headBytesMax} bytes`);
      }
      const wasEmpty = this.#filled === 0;
      if (!await this.#fill()) {
        return wasEmpty ? { kind: "end" } : refused(400, "cut-short", "the request ended in the middle");
      }
      if (wasEmpty) this.deadline.set(limits.requestMs);
    }
  }

  async #receiveBody(headBytes: number): Promise<Incoming> {
    if (++this.#pipelined > this.#limits.pipelineMax) {
      return refused(429, "pipeline-too-long", `more than ${this.#limits.pipelineMax} requests were sent ahead`);
    }
    const head = this.#buffer.slice(0, headBytes);
    const verdict = checkHead(head, this.#limits);
    if (verdict.kind === "refused") return refused(verdict.status, verdict.code, verdict.why);
    const parsed: ParsedRequest | null = parseRequestHead(head);
    if (parsed === null) return refused(405, "unknown-method", "the method is not known here", { allow: KNOWN_METHODS });
    this.#consume(headBytes);
    const body = new Uint8Array(verdict.bodyBytes);
    let have = Math.min(this.#filled, body.length);
    body.set(this.#buffer.subarray(0, have));
    this.#consume(have);
    while (have < body.length) {
      const count = await this.#stream.read(body.subarray(have));
      if (count === 0) return refused(400, "cut-short", "the body ended before content-length");
      this.#pipelined = 0;
      have += count;
    }
    const { keepAlive, ...request } = parsed;
    return { kind: "request", request: { ...request, body }, keepAlive };
  }

  async #answer(request: HttpRequest): Promise<HttpResponse> {
    // The handler's own time is not the client's fault; handlers are bounded by what they call.
    this.deadline.clear();
    try {
      return await this.#handler(request, this.#ended.signal);
    } catch (error) {
      this.#onFailure(error);
      return errorResponse(500, "internal", "the request failed inside; the log has the reason");
    }
  }

  async #send(response: HttpResponse, body: Uint8Array<ArrayBuffer>, headOnly: boolean, close: boolean): Promise<void> {
    const head = encodeHead(response, body.length, close, Date.now());
    this.deadline.set(this.#limits.writeMs);
    await this.#stream.write(headOnly ? head : joined(head, body));
  }

  /** Sends pieces as they come. A streamed answer ends its connection, because the watcher's read cannot be taken back. */
  async #sendPieces(response: HttpResponse, pieces: AsyncIterable<Uint8Array<ArrayBuffer>>, headOnly: boolean): Promise<void> {
    this.deadline.set(this.#limits.writeMs);
    await this.#stream.write(encodeHead(response, null, true, Date.now()));
    if (headOnly) return;
    this.deadline.clear();
    this.#watchForLeaving();
    for await (const piece of pieces) {
      if (piece.length === 0) continue;
      this.deadline.set(this.#limits.writeMs);
      await this.#stream.write(joined(encoder.encode(piece.length.toString(16) + "\r\n"), piece, CRLF));
      this.deadline.clear();
    }
    this.deadline.set(this.#limits.writeMs);
    await this.#stream.write(LAST_CHUNK);
    await this.#stream.closeWrite();
  }

  /** While an answer streams the client has nothing to say: its next byte or its end stops the pieces through their signal. */
  #watchForLeaving(): void {
    const leave = () => this.#ended.abort();
    this.#stream.read(new Uint8Array(1)).then(leave, leave);
  }

  /** Reads what the client still sends, so that closing does not reset the connection before the answer is read. */
  async #linger(): Promise<void> {
    this.deadline.set(LINGER_MS);
    await this.#stream.closeWrite();
    const sink = new Uint8Array(8_192);
    try {
      for (let read = 0; read < LINGER_BYTES_MAX;) {
        const count = await this.#stream.read(sink);
        if (count === 0) return;
        read += count;
      }
    } catch {
      // Gone already, or too slow: the answer was sent, nothing is owed any more.
    }
  }

  async #fill(): Promise<boolean> {
    const count = await this.#stream.read(this.#buffer.subarray(this.#filled));
    this.#filled += count;
    this.#pipelined = 0;
    return count > 0;
  }

  #consume(bytes: number): void {
    this.#buffer.copyWithin(0, bytes, this.#filled);
    this.#filled -= bytes;
  }
}

/** What any of our handlers may know; which of them a path knows is the handler's word. */
const KNOWN_METHODS = "GET, HEAD, POST, PUT, DELETE";

const encoder = new TextEncoder();
const CRLF = encoder.encode("\r\n");
const LAST_CHUNK = encoder.encode("0\r\n\r\n");

function refused(status: number, code: string, why: string, headers: Readonly<Record<string, string>> = {}): Incoming {
  const response = errorResponse(status, code, why, null, headers);
  return { kind: "refused", response, body: response.body instanceof Uint8Array ? response.body : new Uint8Array(0) };
}

function joined(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
