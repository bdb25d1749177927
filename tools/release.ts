/**
 * Makes a release of dist/postern: `deno run -A tools/release.ts`, after `make build`. Into dist/release go
 *
 * - `postern-VERSION-linux-x64.tar.gz`: the binary, its licences, its bill of materials, the documents and deploy/,
 * - `postern-VERSION-linux-x64.cdx.json`: the bill of materials by itself,
 * - `SHA256SUMS` of both, and where $POSTERN_RELEASE_KEY names an SSH key its signature, `SHA256SUMS.sig`.
 *
 * The same commit gives the same bytes in every folder: names are sorted, each file has the commit's time, no owner and a mode that
 * depends on its executable bit only, and the compression is the pinned Deno's, not the machine's.
 */
import { createHash } from "node:crypto";
import { dirname, join, resolve } from "node:path";
import { gzipSync } from "node:zlib";
import denoConfig from "../deno.json" with { type: "json" };
import { LIBRARY_SHA256 } from "../ffi/digest.ts";
import { buildRecord, sourceDate } from "./build_record.ts";
import { formatBom } from "./release/bom.ts";
import { formatLicences } from "./release/licences.ts";
import { partsOf } from "./release/parts.ts";
import { isTestCode, sourceFiles } from "./suites.ts";

const ROOT = resolve(import.meta.dirname ?? ".", "..");
const OUT = join(ROOT, "dist", "release");
const NAME = `postern-${denoConfig.version}-linux-x64`;
const GZIP = { level: 6 };
/** What a signature is for: one made for anything else is not taken for it. */
const SIGNED_FOR = "postern-release";

/** Copied as they are, beside what is generated. */
const FILES = ["LICENSE", "README.md"];
const FOLDERS = ["deploy", "docs"];

async function release(): Promise<void> {
  const [{ commit }, seconds] = await Promise.all([buildRecord(ROOT), sourceDate(ROOT)]);
  await refuseStale(commit);
  const parts = partsOf(ROOT);
  const product = { name: "postern", version: denoConfig.version, commit, nativeSha256: LIBRARY_SHA256 };
  const bom = formatBom(product, parts, seconds);

  if (exists(OUT)) Deno.removeSync(OUT, { recursive: true });
  const folder = join(OUT, NAME);
  copy("dist/postern", join(folder, "postern"));
  for (const path of [...FILES, ...FOLDERS.flatMap((name) => sourceFiles(ROOT, (path) => !isTestCode(path), name))]) {
    copy(path, join(folder, path));
  }
  Deno.writeTextFileSync(join(folder, "THIRD_PARTY_LICENSES"), formatLicences(parts));
  Deno.writeTextFileSync(join(folder, "postern.cdx.json"), bom);
  const archive = gzipSync(await tar(seconds), GZIP);
  Deno.removeSync(folder, { recursive: true });

  const files = new Map([[`${NAME}.tar.gz`, new Uint8Array(archive)], [`${NAME}.cdx.json`, new TextEncoder().encode(bom)]]);
  const sums = [...files].map(([name, bytes]) => `${createHash("sha256").update(bytes).digest("hex")}  ${name}\n`).sort();
  for (const [name, bytes] of files) Deno.writeFileSync(join(OUT, name), bytes);
  Deno.writeTextFileSync(join(OUT, "SHA256SUMS"), sums.join(""));
  await sign(join(OUT, "SHA256SUMS"), Deno.env.get("POSTERN_RELEASE_KEY") ?? "");
  console.log(`dist/release/${NAME}.tar.gz: ${(archive.length / 1e6).toFixed(1)} MB of commit ${commit}`);
  if (commit.endsWith("-dirty")) console.error("release: tracked files differ from the commit: nobody can build these bytes again");
}

/** A release names the commit twice, in the binary and beside it. */
async function refuseStale(commit: string): Promise<void> {
  const binary = join(ROOT, "dist", "postern");
  if (!exists(binary)) stop("dist/postern is missing", "make build");
  const { stdout } = await new Deno.Command(binary, { args: ["version", "--json"] }).output();
  const { commit: built } = JSON.parse(new TextDecoder().decode(stdout));
  if (built !== commit) stop(`dist/postern was built from ${built}, this checkout is ${commit}`, "make build");
}

async function tar(seconds: number): Promise<Uint8Array> {
  const args = ["--create", "--format=ustar", "--sort=name", `--mtime=@${seconds}`, "--owner=0", "--group=0", "--numeric-owner"];
  const { success, stdout, stderr } = await new Deno.Command("tar", {
    args: [...args, "--mode=u=rwX,go=rX", "--directory", OUT, NAME],
    env: { LC_ALL: "C" },
    stdin: "null",
  }).output();
  if (!success) stop(`tar: ${new TextDecoder().decode(stderr)}`, "a release needs GNU tar");
  return stdout;
}

/** The key stays with OpenSSH, which also asks an agent or a token for it. */
async function sign(file: string, key: string): Promise<void> {
  if (key === "") return;
  const args = ["-q", "-Y", "sign", "-n", SIGNED_FOR, "-f", key, file];
  const { success, stderr } = await new Deno.Command("ssh-keygen", { args, stdin: "null" }).output();
  if (!success) {
    stop(`the release is not signed: ${new TextDecoder().decode(stderr).trim()}`, "POSTERN_RELEASE_KEY names an SSH key");
  }
}

function copy(from: string, to: string): void {
  Deno.mkdirSync(dirname(to), { recursive: true });
  Deno.copyFileSync(join(ROOT, from), to);
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}

function stop(message: string, hint: string): never {
  console.error(`postern: error: ${message}\npostern: hint: ${hint}`);
  Deno.exit(1);
}

await release();
