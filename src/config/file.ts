/**
 * Reads the text of a configuration file: JSON or YAML in, plain values with the line of each out. Keys that begin with `_`
 * are comments and are gone afterwards. Not here: what the keys mean (`resolve.ts`).
 */

import type { Document, LineCounter, Node, Pair } from "yaml";
import { decodeUtf8, messageOf, type PosternError, sanitizeForLog, usageError } from "../base/mod.ts";

export const CONFIG_FILE_MAX_BYTES = 1 << 20;
/** Deeper nesting is refused. */
const DEPTH_MAX = 16;
/** Aliases (`*name`) may not blow a YAML file up to more than so many nodes. */
const YAML_ALIASES_MAX = 50;

/** A configuration file whose text was read and is well-formed. */
export interface ConfigFile {
  readonly path: string;
  readonly value: Readonly<Record<string, unknown>>;
  /** The line (from 1) of what stands at `path`; of its key, if it is an entry of an object. Null when unknown. */
  readonly lineOf: (path: readonly PropertyKey[]) => number | null;
}

/** Parses a file by its name (`.json` is JSON, anything else YAML, of which JSON is a part). Throws a usage error with the place. */
export async function parseConfigFile(path: string, bytes: Uint8Array): Promise<ConfigFile> {
  if (bytes.length > CONFIG_FILE_MAX_BYTES) throw fileError(path, null, `is longer than ${CONFIG_FILE_MAX_BYTES} bytes`);
  const decoded = decodeUtf8(bytes, 0, bytes.length);
  if (decoded === null) throw fileError(path, null, "is not UTF-8");
  const text = decoded.startsWith("\ufeff") ? decoded.slice(1) : decoded;
  const isJson = path.endsWith(".json");
  const json = isJson ? parseJson(path, text) : null;
  // Only now: a role without a configuration file does not pay for the parser.
  const yaml = await import("./yaml.ts");
  const lines = new yaml.LineCounter();
  const document = yaml.parseDocument(text, { lineCounter: lines, strict: true, uniqueKeys: true, version: "1.2", schema: "core" });
  const flaw = [...document.errors, ...document.warnings].find((error) => !isJson || error.code === "DUPLICATE_KEY");
  if (flaw !== undefined) throw fileError(path, lines.linePos(flaw.pos[0]).line, firstLine(flaw.message));
  const value = isJson ? json : toValues(path, document);
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw fileError(path, null, "must hold an object of settings");
  }
  return {
    path,
    value: withoutComments(path, value, 0) as Record<string, unknown>,
    lineOf: (inside) => lineOf(yaml, document, lines, inside),
  };
}

function parseJson(path: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    const message = messageOf(cause);
    const line = /line (\d+)/.exec(message)?.[1];
    throw fileError(path, line === undefined ? null : Number(line), message.replace(/ \(line \d+ column \d+\)$/, ""));
  }
}

function toValues(path: string, document: Document): unknown {
  try {
    return document.toJS({ maxAliasCount: YAML_ALIASES_MAX }) ?? {};
  } catch (cause) {
    throw fileError(path, null, firstLine(messageOf(cause)));
  }
}

/** A copy without the keys that begin with `_`, at any depth. */
function withoutComments(path: string, value: unknown, depth: number): unknown {
  if (depth > DEPTH_MAX) throw fileError(path, null, `is nested deeper than ${DEPTH_MAX} levels`);
  if (Array.isArray(value)) return value.map((item) => withoutComments(path, item, depth + 1));
  if (typeof value !== "object" || value === null) return value;
  const kept = Object.entries(value).filter(([key]) => !key.startsWith("_"));
  return Object.fromEntries(kept.map(([key, item]) => [key, withoutComments(path, item, depth + 1)]));
}

function lineOf(
  yaml: typeof import("./yaml.ts"),
  document: Document,
  lines: LineCounter,
  path: readonly PropertyKey[],
): number | null {
  let node: unknown = document.contents;
  let offset: number | null = null;
  for (const step of path) {
    if (yaml.isAlias(node)) node = node.resolve(document);
    if (yaml.isMap(node)) {
      const pair = node.items.find((item: Pair) => String(yaml.isScalar(item.key) ? item.key.value : item.key) === String(step));
      if (pair === undefined) break;
      offset = (pair.key as Node | null)?.range?.[0] ?? offset;
      node = pair.value;
    } else if (yaml.isSeq(node) && typeof step === "number") {
      node = node.items[step];
      offset = (node as Node | undefined)?.range?.[0] ?? offset;
    } else break;
  }
  return offset === null ? null : lines.linePos(offset).line;
}

function firstLine(message: string): string {
  return sanitizeForLog(message.split("\n")[0]?.replace(/ at line \d+, column \d+:?$/, "") ?? "");
}

function fileError(path: string, line: number | null, why: string): PosternError {
  return usageError(
    `${path}${line === null ? "" : `:${line}`}: ${why}`,
    "`postern config example ROLE` prints a file that is right",
  );
}
