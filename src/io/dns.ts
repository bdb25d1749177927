/** Names to addresses, in the control plane only: the data plane is told the answers. */
import { lookup } from "node:dns/promises";
import process from "node:process";
import { PosternError } from "../base/mod.ts";

// The runtime's resolver would tell of a module that it loads itself, in the midst of the log's lines.
(process as { noDeprecation?: boolean }).noDeprecation = true;

const RESOLVE_TIMEOUT_MS = 5_000;
/** More than these are not tried. */
const ADDRESSES_MAX = 16;

/**
 * The addresses of `host` in the system's order; a literal address is its own answer. Rejects with {@linkcode PosternError}
 * when there is none, or none in time.
 */
export async function resolveHost(host: string): Promise<string[]> {
  let timer: number | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${RESOLVE_TIMEOUT_MS} ms`)), RESOLVE_TIMEOUT_MS);
  });
  try {
    const found = await Promise.race([lookup(host, { all: true, verbatim: true }), late]);
    const addresses = [...new Set(found.map((entry) => entry.address))];
    if (addresses.length === 0) throw new Error("it has no address");
    return addresses.slice(0, ADDRESSES_MAX);
  } catch (cause) {
    throw new PosternError(`cannot resolve the name ${host}: ${cause instanceof Error ? cause.message : cause}`, {
      code: "resolve",
      hint: "check the name, or give an IP address",
      cause,
    });
  } finally {
    clearTimeout(timer);
  }
}
