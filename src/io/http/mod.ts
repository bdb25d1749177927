/**
 * HTTP/1.1 (RFC 9112) for watching and steering, over any {@linkcode ByteStream}: a Unix socket or a TLS connection. Bytes come
 * from `fd_stream.ts` (woken by `poller.ts`, one waiting call for all sockets) or from the TLS stream above it; `request_head.ts`
 * lets through only what has one meaning; `message_parser.ts` takes it apart; `connection.ts` asks the handler and answers.
 * `client.ts` is the other end, for our own commands on a Unix socket.
 *
 * Not for the internet at large: no chunked requests, no upgrade, no compression, small bodies.
 */
export { type ByteStream, Deadline, StreamClosed } from "./stream.ts";
export { runtimeStream } from "./runtime_stream.ts";
export { FdStream } from "./fd_stream.ts";
export { Poller, type Watch } from "./poller.ts";
export { DEFAULT_HTTP_LIMITS, type HttpLimits } from "./limits.ts";
export { errorResponse, type HttpHandler, type HttpRequest, type HttpResponse, jsonResponse, textResponse } from "./message.ts";
export { serveHttp } from "./connection.ts";
export { type ClientResponse, HttpClient } from "./client.ts";
export { type UnixConnection, UnixListener, type UnixListenerOptions } from "./unix_listener.ts";
export {
  DEFAULT_TLS_LISTENER_LIMITS,
  type Ipv6Address,
  type TlsConnection,
  TlsListener,
  type TlsListenerLimits,
  type TlsRefusal,
} from "./tls_listener.ts";
export { joinStandardStreams, type StandardStreams } from "./standard_streams.ts";
export { TlsStream } from "./tls_stream.ts";
export type { CertificateSummary } from "../../core/quic/engine.ts";
export type { CapabilityName, HardeningNative, PeerCredentials, ProcessNative } from "../native_process.ts";
export type { TlsContext, TlsContextOptions } from "../tls_end.ts";
