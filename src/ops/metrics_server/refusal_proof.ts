/**
 * Proves, against the listener as it stands on the network, that a client without a certificate gets nothing: connects, finishes its
 * side of the handshake, asks for the metrics, and must be answered by an alert and the end.
 */
import { messageOf, PosternError } from "../../base/mod.ts";
import { type Ipv6Address, runtimeStream, StreamClosed, type TlsContext, TlsStream } from "../../io/http/mod.ts";
import type { OpsNative } from "../native.ts";

const TIMEOUT_MS = 5_000;
/** The alert that a server sends to a client without a certificate, RFC 8446 §6.2. */
const CERTIFICATE_REQUIRED = 116;
const REQUEST = "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

/** Throws when an anonymous client is let in, or when the proof cannot be made in time. */
export async function proveRefusal(address: Ipv6Address, native: OpsNative, timeoutMs = TIMEOUT_MS): Promise<void> {
  using context = native.createTlsContext({
    side: "client",
    identity: null,
    verify: { kind: "off" },
    toleratesStaleCrl: false,
    protocols: ["http/1.1"],
  });
  const target = address.address === "::" ? "::1" : address.address;
  let answer: number;
  try {
    answer = await ask(target, address.port, context, timeoutMs);
  } catch (cause) {
    throw new PosternError(`the metrics listener could not be tested: ${messageOf(cause)}`, {
      code: "metrics-self-test",
      hint: `this machine must be able to connect to [${target}]:${address.port}`,
      cause,
    });
  }
  if (answer > 0) {
    throw new PosternError("the metrics listener answered a client without a certificate", {
      code: "metrics-self-test",
      hint: "nothing is served; this must not happen: report it",
    });
  }
}

/** The bytes of HTTP that came back: 0 when the client was refused. */
async function ask(hostname: string, port: number, context: TlsContext, timeoutMs: number): Promise<number> {
  const connection = await Deno.connect({ hostname, port });
  const stream = new TlsStream(runtimeStream(connection), context.createEnd(null));
  const timer = setTimeout(() => stream.close(), timeoutMs);
  using cleanup = new DisposableStack();
  cleanup.defer(() => stream.close());
  cleanup.defer(() => clearTimeout(timer));
  try {
    await stream.handshake();
    await stream.write(new TextEncoder().encode(REQUEST));
    return await stream.read(new Uint8Array(1024));
  } catch (error) {
    if (error instanceof StreamClosed && !stream.isClosed && stream.end.alerts().received === CERTIFICATE_REQUIRED) return 0;
    throw error;
  }
}
