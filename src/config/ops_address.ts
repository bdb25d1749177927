/**
 * The addresses of seeing and steering as text: where metrics are served, and where alerts are posted. Texts come in; what they name,
 * or a usage error, goes out. The settings are checked with these, and the parts that use them read them with the same.
 */

import { formatIp, parseIp, parseIpv4, parseIpv6, parsePort, usageError } from "../base/mod.ts";

const ADDRESS_HINT = "--metrics-addr takes an IPv6 address and a port, such as [::1]:9090 or [::]:9090";

/** Throws a usage error when both ways to say where metrics are served are used. */
export function requireOneMetricsAddress(metricsAddr: string | null, metricsPort: number | null): void {
  if (metricsAddr === null || metricsPort === null) return;
  throw usageError("--metrics-port and --metrics-addr exclude each other", "--metrics-addr has the port in it: keep that one");
}

/** Reads `[IPv6]:PORT`, port 0 included. Throws a usage error. */
export function parseMetricsAddress(text: string): { readonly address: string; readonly port: number } {
  const colon = text.lastIndexOf(":");
  const host = text.slice(0, Math.max(colon, 0));
  if (parseIpv4(host) !== null || parseIpv4(text) !== null || host === "localhost") {
    throw usageError("IPv4 addresses not supported. Use IPv6 format: [::1]:9090", ADDRESS_HINT);
  }
  const bracketed = /^\[([^\]]*)\]:([0-9]+)$/.exec(text);
  const address = bracketed?.[1] ?? "";
  if (bracketed === null || parseIpv6(address) === null) throw usageError(`'${text}' is not [IPv6]:PORT`, ADDRESS_HINT);
  if (/^::ffff:/i.test(address)) throw usageError("IPv4 addresses not supported. Use IPv6 format: [::1]:9090", ADDRESS_HINT);
  const port = parsePort(bracketed[2] ?? "", { zero: true });
  if (!port.ok) throw usageError(`the port of '${text}' ${port.why}`, ADDRESS_HINT);
  return { address, port: port.value };
}

/** Reads the address of `--alert-webhook`. Throws a usage error. */
export function parseWebhookUrl(text: string): URL {
  const wrong = (why: string) =>
    usageError(`the webhook address ${why}`, "write https://host/path; http:// is taken for 127.0.0.1 and [::1] only");
  const url = URL.parse(text);
  if (url === null) throw wrong("is not a URL");
  if (url.username !== "" || url.password !== "") throw wrong("has a user name or password in it");
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const ip = parseIp(host);
  const isLocal = ip === null ? host === "localhost" : isLoopback(ip);
  if (url.protocol !== "https:" && !(url.protocol === "http:" && isLocal)) {
    throw wrong(`is ${url.protocol}//${url.host}, not https`);
  }
  if (ip !== null && isForbiddenWebhookAddress(ip)) {
    throw wrong(`names ${formatIp(ip, 0, ip.length === 4 ? 4 : 16)}, which no webhook has`);
  }
  return url;
}

/** A webhook's address as it may be shown: its path and query are a secret with most services. */
export function maskWebhookUrl(text: string | null): string {
  return text === null ? "-" : `${URL.parse(text)?.origin ?? ""}/[secret]`;
}

/** Link-local (169.254/16, fe80::/10), multicast and unspecified addresses. v4-mapped ones count as what they map. */
export function isForbiddenWebhookAddress(ip: Uint8Array): boolean {
  const v4 = mappedV4(ip);
  if (v4 !== null) {
    const [a = 0, b = 0] = v4;
    return a === 0 || (a === 169 && b === 254) || a >= 224;
  }
  const [a = 0, b = 0] = ip;
  return a === 0xff || (a === 0xfe && (b & 0xc0) === 0x80) || ip.every((byte) => byte === 0);
}

function isLoopback(ip: Uint8Array): boolean {
  const v4 = mappedV4(ip);
  if (v4 !== null) return v4[0] === 127;
  return ip.every((byte, i) => byte === (i === 15 ? 1 : 0));
}

function mappedV4(ip: Uint8Array): Uint8Array | null {
  if (ip.length === 4) return ip;
  const isMapped = ip.subarray(0, 10).every((byte) => byte === 0) && ip[10] === 0xff && ip[11] === 0xff;
  return isMapped ? ip.subarray(12) : null;
}
