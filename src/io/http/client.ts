/** The client of our own server on a Unix socket: one connection, one request at a time, answers whole or in pieces. */
import { PosternError } from "../../base/mod.ts";
import { responseParser } from "./message_parser.ts";

export interface ClientResponse {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Uint8Array;
}

export interface ClientRequest {
  readonly method: string;
  /** With the query, percent-encoded by the caller. */
  readonly target: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
}

/** More than any answer of ours but a stream. */
const ANSWER_BYTES_MAX = 16 * 1024 * 1024;
const REQUEST_MS = 30_000;

const encoder = new TextEncoder();

export class HttpClient implements Disposable {
  readonly #connection: Deno.UnixConn;

  constructor(connection: Deno.UnixConn) {
    this.#connection = connection;
  }

  /** Connects; the operating system's error passes through. */
  static async connect(path: string): Promise<HttpClient> {
    return new HttpClient(await Deno.connect({ transport: "unix", path }));
  }

  /** Sends a request and waits for the whole answer, at most 30 seconds. */
  async request(request: ClientRequest): Promise<ClientResponse> {
    const pieces: Uint8Array[] = [];
    let bytes = 0;
    const timer = setTimeout(() => this[Symbol.dispose](), REQUEST_MS);
    try {
      const head = await this.#exchange(request, (piece) => {
        bytes += piece.length;
        if (bytes > ANSWER_BYTES_MAX) throw brokenAnswer("it is too long");
        pieces.push(piece);
      });
      return { ...head, body: new Uint8Array(await new Blob(pieces as Uint8Array<ArrayBuffer>[]).arrayBuffer()) };
    } finally {
      clearTimeout(timer);
    }
  }

  /** Sends a request and hands on the pieces of the answer as they come, until the server ends it. */
  async follow(request: ClientRequest, onPiece: (piece: Uint8Array) => void): Promise<Omit<ClientResponse, "body">> {
    return await this.#exchange(request, onPiece);
  }

  [Symbol.dispose](): void {
    try {
      this.#connection.close();
    } catch {
      // Closed before.
    }
  }

  async #exchange(request: ClientRequest, onPiece: (piece: Uint8Array) => void): Promise<Omit<ClientResponse, "body">> {
    await this.#send(request);
    let head: Omit<ClientResponse, "body"> | null = null;
    let ended = false;
    const parser = responseParser({
      onHead: (status, headers) => head = { status, headers },
      onBody: onPiece,
      onEnd: () => ended = true,
    });
    const buffer = new Uint8Array(65_536);
    while (!ended) {
      const count = await this.#connection.read(buffer);
      if (count === null) throw brokenAnswer("the connection ended in its middle");
      if (!parser.execute(buffer.slice(0, count))) throw brokenAnswer("it is not HTTP");
    }
    if (head === null) throw brokenAnswer("it has no head");
    return head;
  }

  async #send(request: ClientRequest): Promise<void> {
    const body = request.body ?? new Uint8Array(0);
    let head = `${request.method} ${request.target} HTTP/1.1\r\nhost: localhost\r\n`;
    for (const [name, value] of Object.entries(request.headers ?? {})) head += `${name}: ${value}\r\n`;
    if (body.length > 0) head += `content-length: ${body.length}\r\n`;
    const bytes = new Uint8Array([...encoder.encode(head + "\r\n"), ...body]);
    for (let at = 0; at < bytes.length;) at += await this.#connection.write(bytes.subarray(at));
  }
}

function brokenAnswer(why: string): PosternError {
  return new PosternError(`the answer of the running process cannot be read: ${why}`, {
    code: "broken-answer",
    hint: "look into the log of the running process",
  });
}
