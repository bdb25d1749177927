/**
 * The keys by which a server knows its own Retry tokens and stateless resets again: kept in a file they outlive the process, and
 * several servers may share those of the tokens. One key a line:
 *
 *   retry NUMBER KEY     32 bytes in hexadecimal; the first seals, all open
 *   reset KEY            32 bytes in hexadecimal; of this server alone
 *
 * A new file is made with random keys and mode 0600. Empty lines and lines that begin with `#` are passed over.
 */
import { type LogRecord, messageOf, PosternError } from "../base/mod.ts";
import { type MaterialReader, readMaterial } from "./material_file.ts";

export interface RetryKeyMaterial {
  /** 0 to 255, none twice. */
  readonly id: number;
  readonly key: Uint8Array;
}

export interface AddressKeys {
  /** At least one. */
  readonly retry: readonly RetryKeyMaterial[];
  /** Null: a random one for each process. */
  readonly reset: Uint8Array | null;
}

const KEY_BYTES = 32;
const KEYS_MAX = 16;

/** The keys in the file, which is made if it is not there. Rejects with exit code 1. */
export async function loadAddressKeys(path: string, reader: MaterialReader, notices: LogRecord[]): Promise<AddressKeys> {
  const text = await readOrMake(path, reader, notices);
  const mode = await reader.fileMode(path);
  if (mode !== null && (mode & 0o077) !== 0) {
    throw new PosternError(`Key file ${path} can be read by others (mode ${(mode & 0o777).toString(8).padStart(4, "0")})`, {
      code: "key-file-mode",
      hint: `chmod 600 ${path}; if others had it, delete it: a new one is made`,
    });
  }
  return parseAddressKeys(text, path);
}

async function readOrMake(path: string, reader: MaterialReader, notices: LogRecord[]): Promise<string> {
  try {
    return new TextDecoder().decode(await readMaterial(path, "Key file", reader));
  } catch (error) {
    const isMissing = error instanceof PosternError && error.code === "file-missing";
    if (!isMissing || reader.createPrivateFile === null) throw error;
  }
  const text = newAddressKeys(reader.entropy);
  try {
    await reader.createPrivateFile(path, new TextEncoder().encode(text));
  } catch (cause) {
    // Another server of the same file was a moment quicker.
    if (cause instanceof Deno.errors.AlreadyExists) return await readOrMake(path, { ...reader, createPrivateFile: null }, notices);
    throw new PosternError(`Key file cannot be made: ${path}: ${messageOf(cause)}`, {
      code: "file-unwritable",
      hint: "choose a place with --retry-key-file that the server may write to, or make the file beforehand",
      cause,
    });
  }
  notices.push({
    level: "info",
    event: "settings-applied",
    message: `Made ${path} with new keys for Retry tokens and stateless resets`,
    fields: { path },
  });
  return text;
}

/** The text of a new file. */
export function newAddressKeys(entropy: (bytes: Uint8Array) => void): string {
  const key = () => {
    const bytes = new Uint8Array(KEY_BYTES);
    entropy(bytes);
    return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  };
  return [
    "# Keys of a postern server. Whoever has them can forge its Retry tokens and end its connections.",
    "# Servers behind one address may share the lines `retry`; to rotate, put a new one in front, send SIGHUP to all, and remove the old",
    "# one a minute later. The line `reset` is for one server only.",
    `retry 1 ${key()}`,
    `reset ${key()}`,
    "",
  ].join("\n");
}

/** Throws with exit code 1 and the number of the line. Keys never stand in a message. */
export function parseAddressKeys(text: string, path: string): AddressKeys {
  const retry: RetryKeyMaterial[] = [];
  let reset: Uint8Array | null = null;
  for (const [at, raw] of text.split(/\r?\n/).entries()) {
    const line = raw.trim();
    if (line === "" || line.startsWith("#")) continue;
    const refuse = (why: string) => new PosternError(`Key file ${path}:${at + 1}: ${why}`, { code: "key-file" });
    const [, retryId, retryHex, resetHex] = /^(?:retry\s+([0-9]{1,3})\s+([0-9a-f]{64})|reset\s+([0-9a-f]{64}))$/i.exec(line) ?? [];
    if (retryId !== undefined && retryHex !== undefined) {
      const id = Number(retryId);
      if (id > 255) throw refuse("a key's number must be 0 to 255");
      if (retry.some((known) => known.id === id)) throw refuse(`two keys have the number ${id}`);
      if (retry.length >= KEYS_MAX) throw refuse(`more than ${KEYS_MAX} keys`);
      retry.push({ id, key: fromHex(retryHex) });
    } else if (resetHex !== undefined) {
      if (reset !== null) throw refuse("a second line `reset`");
      reset = fromHex(resetHex);
    } else throw refuse("must be `retry NUMBER KEY` or `reset KEY`, a key being 64 hexadecimal digits");
  }
  if (retry.length === 0) throw new PosternError(`Key file ${path} has no line \`retry NUMBER KEY\``, { code: "key-file" });
  return { retry, reset };
}

function fromHex(text: string): Uint8Array {
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}
