/**
 * Loads the revocation lists and the list of denied serials that the settings of a role name whom clients connect to. Paths in; texts, and what the lists
 * say of themselves, out. A list that is past its time is told, and counts on only as long as the settings allow.
 */
import { concatBytes, type LogRecord, PosternError } from "../base/mod.ts";
import { type MaterialReader, readMaterial, type RevocationFacts } from "./material_file.ts";
import type { ServerSettings } from "./server.ts";

export interface RevocationMaterial {
  /** All lists as one text; null without any. */
  readonly crlPem: Uint8Array | null;
  readonly lists: readonly (RevocationFacts & { readonly path: string })[];
  /** Lists past their next update count all the same. */
  readonly toleratesStale: boolean;
  /** When that ends, or the lists must be looked at again for another reason. Milliseconds since the epoch. */
  readonly nextLookMs: number;
  /** One entry a line; null without a list. */
  readonly denyListText: string | null;
}

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** Lists that end sooner than this are worth a warning. */
export const CRL_WARNING_MS = DAY_MS;

/** Which lists there are, and how the setting is called that lets them count beyond their time. */
export interface RevocationFiles extends Pick<ServerSettings, "crlPaths" | "crlMaxStaleMs" | "denyListPath"> {
  readonly maxStaleFlag: string;
}

/** Rejects with exit code 1 when a file is missing or damaged. */
export async function loadRevocation(
  settings: RevocationFiles,
  reader: MaterialReader,
  notices: LogRecord[],
): Promise<RevocationMaterial> {
  const lists: (RevocationFacts & { readonly path: string })[] = [];
  const texts: Uint8Array[] = [];
  for (const path of settings.crlPaths) {
    const pem = await readMaterial(path, "Revocation list", reader);
    lists.push(...readLists(path, pem, reader).map((facts) => ({ ...facts, path })));
    texts.push(pem, new TextEncoder().encode("\n"));
  }
  const denyList = settings.denyListPath === null
    ? null
    : new TextDecoder().decode(await readMaterial(settings.denyListPath, "Deny list", reader));
  const ends = lists.flatMap(({ nextUpdateMs }) => nextUpdateMs === null ? [] : [nextUpdateMs]);
  const graceEndsMs = Math.min(...ends.map((end) => end + settings.crlMaxStaleMs));
  const toleratesStale = settings.crlMaxStaleMs > 0 && graceEndsMs > reader.nowMs;
  for (const list of lists) notices.push(...agesOf(list, toleratesStale ? settings.maxStaleFlag : null, reader.nowMs));
  return {
    crlPem: texts.length === 0 ? null : concatBytes(...texts),
    lists,
    toleratesStale,
    nextLookMs: toleratesStale ? graceEndsMs : Infinity,
    denyListText: denyList,
  };
}

function readLists(path: string, pem: Uint8Array, reader: MaterialReader): readonly RevocationFacts[] {
  let lists: readonly RevocationFacts[];
  try {
    lists = reader.readRevocationLists(pem);
  } catch (cause) {
    throw damaged(`Revocation list cannot be parsed: ${path}: ${cause instanceof Error ? cause.message : String(cause)}`, cause);
  }
  if (lists.length === 0) throw damaged(`No revocation list in ${path}`);
  return lists;
}

function damaged(message: string, cause?: unknown): PosternError {
  return new PosternError(message, {
    code: "material",
    hint: "it must have PEM blocks -----BEGIN X509 CRL-----; `openssl crl -inform DER -in FILE -out NEW` makes one of DER",
    ...(cause === undefined ? {} : { cause }),
  });
}

/** What is to be said of a list. `tolerated`: the setting by which it counts although its time is over. */
function agesOf(list: RevocationFacts & { readonly path: string }, tolerated: string | null, nowMs: number): LogRecord[] {
  const { nextUpdateMs, issuer, path, serials } = list;
  const loaded: LogRecord = {
    level: "info",
    event: "revocation-loaded",
    message: `Loaded the revocation list of ${issuer} with ${serials.length} entries from ${path}`,
    fields: { path, issuer, entries: serials.length },
  };
  if (nextUpdateMs === null || nextUpdateMs - nowMs > CRL_WARNING_MS) return [loaded];
  const when = new Date(nextUpdateMs).toISOString().replace(".000Z", "Z");
  const what = nextUpdateMs > nowMs
    ? `ends on ${when}`
    : tolerated !== null
    ? `ended on ${when} and still counts (${tolerated})`
    : `ended on ${when}: clients of this issuer are refused`;
  const message = `The revocation list of ${issuer} ${what}`;
  return [loaded, { level: "warn", event: "revocation-stale", message, fields: { path, issuer, next_update: when } }];
}
