/** Requests and responses as values, and the one shape of an error. */

export interface HttpRequest {
  readonly method: string;
  /** As sent, up to the `?`: an absolute path. Not decoded; our routes need no escapes. */
  readonly path: string;
  readonly query: URLSearchParams;
  /** Lower-case names. A field that came twice has its values joined by `, `. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Uint8Array;
}

export interface HttpResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** All of it, or pieces that are sent as they come (chunked) until the iteration ends or the client leaves. */
  readonly body: Uint8Array<ArrayBuffer> | AsyncIterable<Uint8Array<ArrayBuffer>>;
}

/** `signal` aborts when the connection ends. A handler that throws is answered with 500. */
export type HttpHandler = (request: HttpRequest, signal: AbortSignal) => Promise<HttpResponse> | HttpResponse;

const encoder = new TextEncoder();

export function jsonResponse(value: unknown, status = 200): HttpResponse {
  return { status, headers: { "content-type": "application/json" }, body: encoder.encode(JSON.stringify(value) + "\n") };
}

export function textResponse(text: string, contentType = "text/plain; charset=utf-8", status = 200): HttpResponse {
  return { status, headers: { "content-type": contentType }, body: encoder.encode(text) };
}

/** Every refusal has this body: `{"error":{"code":…,"message":…,"hint":…}}`; `code` is stable, `hint` may be null. */
export function errorResponse(
  status: number,
  code: string,
  message: string,
  hint: string | null = null,
  headers: Readonly<Record<string, string>> = {},
): HttpResponse {
  const response = jsonResponse({ error: { code, message, hint } }, status);
  return { ...response, headers: { ...response.headers, ...headers } };
}

const REASONS: Readonly<Record<number, string>> = {
  200: "OK",
  202: "Accepted",
  204: "No Content",
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  408: "Request Timeout",
  409: "Conflict",
  411: "Length Required",
  413: "Content Too Large",
  414: "URI Too Long",
  415: "Unsupported Media Type",
  417: "Expectation Failed",
  422: "Unprocessable Content",
  429: "Too Many Requests",
  431: "Request Header Fields Too Large",
  500: "Internal Server Error",
  501: "Not Implemented",
  503: "Service Unavailable",
  505: "HTTP Version Not Supported",
};

/** The status line and header fields. `length` null says that the body is chunked. */
export function encodeHead(response: HttpResponse, length: number | null, close: boolean, nowMs: number): Uint8Array<ArrayBuffer> {
  let head = `HTTP/1.1 ${response.status} ${REASONS[response.status] ?? "Unknown"}\r\ndate: ${new Date(nowMs).toUTCString()}\r\n`;
  for (const [name, value] of Object.entries(response.headers)) head += `${name}: ${value.replaceAll(/[\r\n\0]/g, " ")}\r\n`;
  head += "cache-control: no-store\r\nx-content-type-options: nosniff\r\n";
  head += length === null ? "transfer-encoding: chunked\r\n" : `content-length: ${length}\r\n`;
  return encoder.encode(head + (close ? "connection: close\r\n\r\n" : "\r\n"));
}
