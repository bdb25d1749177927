/**
 * The grammar of `--limit NAME=VALUE`: what one connection, one source and all together may ask of the server. The names are
 * those under which refusals are counted. Texts go in, numbers come out; what the defaults are stands with the limiter.
 */

import * as z from "zod";
import { text } from "./value.ts";

/** `count` is a number of things at one time; `rate` is so many a second. */
type LimitKind = "count" | "rate";

/** Every limit that can be set. */
export const LIMIT_KINDS = {
  "connections-per-all": "count",
  "connections-per-source": "count",
  "services-per-connection": "count",
  "services-per-source": "count",
  "services-per-identity": "count",
  "flows-per-connection": "count",
  "flows-per-identity": "count",
  "flows-per-anonymous": "count",
  "sessions-per-connection": "count",
  "sessions-per-identity": "count",
  "handshakes-per-all": "rate",
  "handshakes-per-source": "rate",
  "registrations-per-connection": "rate",
  "registrations-per-source": "rate",
  "registrations-per-all": "rate",
  "datagrams-per-connection": "rate",
  "datagrams-per-source": "rate",
  "datagrams-per-all": "rate",
  "bytes-per-connection": "rate",
  "bytes-per-source": "rate",
  "bytes-per-all": "rate",
  "opens-per-connection": "rate",
  "opens-per-source": "rate",
  "opens-per-all": "rate",
  "signals-per-connection": "rate",
  "signals-per-source": "rate",
  "signals-per-all": "rate",
} as const satisfies Readonly<Record<string, LimitKind>>;

export type LimitKey = keyof typeof LIMIT_KINDS;

/** One limit as it was set. */
export interface LimitSetting {
  readonly name: LimitKey;
  /** Of a rate: so many a second on average. Of a count: the count. Null: no limit. */
  readonly amount: number | null;
  /** What may come at once after a pause; null for a count and where none was given. */
  readonly burst: number | null;
}

const COUNT_MAX = 1_000_000;
const RATE_MAX = 1_000_000_000_000;
/** Below this the largest datagram would never be let through. */
const BYTES_BURST_MIN = 65_536;

const entries = text.transform((value, context): LimitSetting => {
  const parsed = parseLimit(value);
  if (typeof parsed !== "string") return parsed;
  context.addIssue({ code: "custom", message: parsed });
  return z.NEVER;
});

/** A list of `NAME=VALUE`, or an object of them. A name that is given twice counts as given last. */
export const limitList = z.union([
  z.array(entries),
  z.record(z.string(), z.union([z.string(), z.number()])).transform((record) =>
    Object.entries(record).map(([name, value]) => `${name}=${value}`)
  ).pipe(z.array(entries)),
], { error: "must be a list of NAME=VALUE" });

/** The limit that a text sets, or what is wrong with the text. */
export function parseLimit(value: string): LimitSetting | string {
  const [name = "", amount, ...rest] = value.split("=");
  if (amount === undefined || rest.length > 0) return "must be NAME=VALUE";
  if (!Object.hasOwn(LIMIT_KINDS, name)) return `names no limit: ${name}`;
  const key = name as LimitKey;
  return LIMIT_KINDS[key] === "count" ? parseCount(key, amount) : parseRate(key, amount);
}

function parseCount(name: LimitKey, value: string): LimitSetting | string {
  const count = wholeNumber(value, COUNT_MAX);
  return count === null ? `${name} must be a whole number from 1 to ${COUNT_MAX}` : { name, amount: count, burst: null };
}

function parseRate(name: LimitKey, value: string): LimitSetting | string {
  if (value === "off") return { name, amount: null, burst: null };
  const [perSecond = "", burst, ...rest] = value.split("/");
  const amount = wholeNumber(perSecond, RATE_MAX);
  const burstAmount = burst === undefined ? null : wholeNumber(burst, RATE_MAX);
  if (amount === null || rest.length > 0 || (burst !== undefined && burstAmount === null)) {
    return `${name} must be off, PER_SECOND or PER_SECOND/BURST, in whole numbers from 1`;
  }
  if (name.startsWith("bytes-") && (burstAmount ?? amount) < BYTES_BURST_MIN) {
    return `${name} must let ${BYTES_BURST_MIN} bytes through at once: PER_SECOND/BURST`;
  }
  return { name, amount, burst: burstAmount };
}

function wholeNumber(value: string, max: number): number | null {
  if (!/^[0-9]{1,15}$/.test(value)) return null;
  const number = Number(value);
  return number >= 1 && number <= max ? number : null;
}
