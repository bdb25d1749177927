/**
 * The zod schemas of single values: ports, addresses, service ids, paths. Each wraps a grammar of `src/base` and says in
 * one phrase what was expected. What flows through: JSON values from a file, or texts from a flag or a variable.
 */

import * as z from "zod";
import { formatIp, type HostPort, parseDuration, parseHost, parseHostPort, parseIp, parsePort } from "../base/mod.ts";

/** An address to bind, and the port if it has its own. Port 0 is any free one. */
export interface BindAddress {
  readonly address: string;
  readonly port: number | null;
}

export const PATH_MAX_CHARS = 4096;

const PORT_WANTED = "must be a port number, 1 to 65535";

/** A port that somebody else must know: 1 to 65535. `zeroWhy` says what to do instead of 0. */
export function portNumber(zeroWhy = PORT_WANTED) {
  return z.int({ error: PORT_WANTED }).min(1, { error: ({ input }) => input === 0 ? zeroWhy : PORT_WANTED }).max(65535, {
    error: PORT_WANTED,
  });
}

/** For {@linkcode portNumber}: the number in `text`, or the text itself when it is none, so that the schema refuses it. */
export function numberFromText(text: string): unknown {
  return /^-?[0-9]{1,15}$/.test(text) ? Number(text) : text;
}

export const text = z.string({ error: "must be text" }).min(1, { error: "must not be empty" });

/** A path as the operating system takes it. */
export const path = text.max(PATH_MAX_CHARS, { error: `must not be longer than ${PATH_MAX_CHARS} characters` }).refine(
  (value) => !value.includes("\0"),
  { error: "must not have a NUL character" },
);

/** A level, or levels of modules: the grammar itself is the log's. */
export const logLevel = text.max(4096, { error: "must not be longer than 4096 characters" });
export const logFormat = z.enum(["auto", "json", "text"], { error: "must be one of auto, json, text" });

/** What a process calls itself in logs and pages. */
export const instanceName = text.regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/, {
  error: "must be 1 to 63 letters, digits, '.', '_' or '-', the first a letter or digit",
});

/** An IP address in canonical text. The unspecified address means "must be configured" and is refused. */
export const externalIp = text.transform((value, context) => {
  const address = canonicalIp(value);
  if (address !== null && !isUnspecified(address)) return address;
  return refuse(context, address === null ? "must be an IP address" : "must be an address that peers can reach");
});

/** `ADDR`, `ADDR:PORT`, `[IPv6]` or `[IPv6]:PORT`, where ADDR is an IP address. */
export const bindAddress = text.transform((value, context): BindAddress => {
  const parsed = parseBindAddress(value);
  return typeof parsed === "string" ? refuse(context, parsed) : parsed;
});

/** `HOST:PORT`, with a name or an address; brackets round IPv6. */
export const hostPort = text.transform((value, context): HostPort => {
  const parsed = parseHostPort(value);
  if (!parsed.ok) return refuse(context, parsed.why);
  return isUnspecified(parsed.value.host) ? refuse(context, "must name a host, not the unspecified address") : parsed.value;
});

/** A time such as `90s`, `24h` or `1d12h`, in milliseconds. */
export const duration = text.transform((value, context): number => {
  const parsed = parseDuration(value);
  return parsed.ok ? parsed.value : refuse(context, parsed.why);
});

/** A {@linkcode duration} from `least` to `most`, both written as one. */
export function durationWithin(least: string, most: string) {
  const [leastMs, mostMs] = [least, most].map((bound) => duration.parse(bound)) as [number, number];
  return duration.refine((value) => value >= leastMs && value <= mostMs, { error: `must be from ${least} to ${most}` });
}

/** A name or an address that a certificate is compared with. */
export const serverName = text.transform((value, context) =>
  parseServerName(value)?.value ?? refuse(context, "must be a DNS name or an IP address")
);

/** A DNS name in lower case, or an address in canonical text (brackets allowed); null for anything else. */
export function parseServerName(value: string): { readonly kind: "dns" | "ip"; readonly value: string } | null {
  const address = canonicalIp(value.replace(/^\[(.*)\]$/, "$1"));
  if (address !== null) return { kind: "ip", value: address };
  const host = parseHost(value);
  return host.ok ? { kind: "dns", value: host.value.host } : null;
}

/** The address in canonical text, or null. */
export function canonicalIp(value: string): string | null {
  const bytes = parseIp(value);
  if (bytes === null) return null;
  return formatIp(bytes, 0, bytes.length === 4 ? 4 : 16);
}

/** `0.0.0.0` and `::` (also v4-mapped): as a destination they mean that nobody configured one. */
export function isUnspecified(host: string): boolean {
  return host === "0.0.0.0" || host === "::" || host === "::ffff:0.0.0.0";
}

/** `127.0.0.0/8` and `::1`. */
export function isLoopback(address: string): boolean {
  return address.startsWith("127.") || address === "::1" || address.startsWith("::ffff:127.");
}

/** Reports `why` and leaves the value invalid. */
export function refuse(context: z.RefinementCtx, why: string): never {
  context.addIssue({ code: "custom", message: why });
  return z.NEVER;
}

/** The parts of a {@linkcode BindAddress}, or why the text is none. `localhost` is 127.0.0.1. */
export function parseBindAddress(value: string): BindAddress | string {
  const whole = canonicalIp(value);
  if (whole?.includes(":") === true) {
    // Of `fd00::1:80` nobody knows whether 80 was meant to be the port.
    const isPortMissed = canonicalIp(value.slice(0, value.lastIndexOf(":"))) !== null;
    return isPortMissed ? `could end with a port: write [${whole}] for the address alone` : { address: whole, port: null };
  }
  const match = /^(?:\[([^\]]*)\]|([^:[\]]+))(?::(.*))?$/s.exec(value);
  if (match === null) return "must be ADDRESS or ADDRESS:PORT, with brackets round IPv6";
  const address = match[2] === "localhost" ? "127.0.0.1" : canonicalIp(match[1] ?? match[2] ?? "");
  if (address === null) return "must be an IP address or localhost, with :PORT behind it if wanted";
  if ((match[1] !== undefined) !== address.includes(":")) return "must have brackets round an IPv6 address only";
  if (match[3] === undefined) return { address, port: null };
  const parsedPort = parsePort(match[3], { zero: true });
  return parsedPort.ok ? { address, port: parsedPort.value } : parsedPort.why;
}
