/**
 * Makes a release of the built binaries: `deno run -A tools/release.ts`; `make release` builds them first. Into dist/release go, for
 * each MACHINE of linux-x64 and linux-arm64,
 *
 * - `postern-VERSION-MACHINE.tar.gz`: the binary, its licences, its bill of materials, the documents and deploy/,
 * - `postern-VERSION-MACHINE.cdx.json`: the bill of materials by itself,
 * - and for all of them `SHA256SUMS`, and where $POSTERN_RELEASE_KEY names an SSH key its signature, `SHA256SUMS.sig`.
 *
 * The same commit gives the same bytes in every folder: names are sorted, each file has the commit's time, no owner and a mode that
 * depends on its executable bit only, and the compression is the pinned Deno's, not the machine's.
 */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { dirname, join, resolve } from "node:path";
import { gzipSync } from "node:zlib";
import denoConfig from "../deno.json" with { type: "json" };
import { LIBRARY_DIGESTS } from "../ffi/digest.ts";
import { type BuildRecord, buildRecord, sourceDate } from "./build_record.ts";
import { formatBom } from "./release/bom.ts";
import { formatLicences } from "./release/licences.ts";
import { partsOf } from "./release/parts.ts";
import { isTestCode, sourceFiles } from "./suites.ts";
import { type Target, TARGETS } from "./targets.ts";

const ROOT = resolve(import.meta.dirname ?? ".", "..");
const OUT = join(ROOT, "dist", "release");
const GZIP = { level: 6 };
/** What a signature is for: one made for anything else is not taken for it. */
const SIGNED_FOR = "postern-release";

/** Copied as they are, beside what is generated. */
const FILES = ["LICENSE", "README.md"];
const FOLDERS = ["deploy", "docs"];

async function release(): Promise<void> {
  const [record, seconds] = await Promise.all([buildRecord(ROOT), sourceDate(ROOT)]);
  for (const target of Object.values(TARGETS)) refuseStale(target, record);
  if (exists(OUT)) Deno.removeSync(OUT, { recursive: true });
  const sums: string[] = [];
  for (const target of Object.values(TARGETS)) {
    const name = `postern-${denoConfig.version}-${target.name}`;
    for (const [file, bytes] of await filesOf(target, name, record.commit, seconds)) {
      Deno.writeFileSync(join(OUT, file), bytes);
      sums.push(`${createHash("sha256").update(bytes).digest("hex")}  ${file}\n`);
      console.log(`dist/release/${file}: ${(bytes.length / 1e6).toFixed(1)} MB of commit ${record.commit}`);
    }
  }
  Deno.writeTextFileSync(join(OUT, "SHA256SUMS"), sums.sort().join(""));
  await sign(join(OUT, "SHA256SUMS"), Deno.env.get("POSTERN_RELEASE_KEY") ?? "");
  if (record.commit.endsWith("-dirty")) {
    console.error("release: tracked files differ from the commit: nobody can build these bytes again");
  }
}

/** What is released for one machine: the names of the files, and their bytes. */
async function filesOf(
  target: Target,
  name: string,
  commit: string,
  seconds: number,
): Promise<Map<string, Uint8Array<ArrayBuffer>>> {
  const parts = partsOf(ROOT, target);
  const product = { name: "postern", version: denoConfig.version, commit, nativeSha256: LIBRARY_DIGESTS[target.name] };
  const bom = formatBom(product, parts, seconds);
  const folder = join(OUT, name);
  copy(target.binary, join(folder, "postern"));
  for (const path of [...FILES, ...FOLDERS.flatMap((one) => sourceFiles(ROOT, (path) => !isTestCode(path), one))]) {
    copy(path, join(folder, path));
  }
  Deno.writeTextFileSync(join(folder, "THIRD_PARTY_LICENSES"), formatLicences(parts));
  Deno.writeTextFileSync(join(folder, "postern.cdx.json"), bom);
  const archive = gzipSync(await tar(name, seconds), GZIP);
  Deno.removeSync(folder, { recursive: true });
  return new Map([[`${name}.tar.gz`, new Uint8Array(archive)], [`${name}.cdx.json`, new TextEncoder().encode(bom)]]);
}

/** A release names the commit twice, in the binary and beside it. The binary is read: it may be one that does not run here. */
function refuseStale({ name, binary }: Target, record: BuildRecord): void {
  const build = `make build, or deno task build --target=${name}`;
  if (!exists(join(ROOT, binary))) stop(`${binary} is missing`, build);
  const written = Buffer.from(JSON.stringify(record));
  if (!Buffer.from(Deno.readFileSync(join(ROOT, binary)).buffer).includes(written)) {
    stop(`${binary} was not built from ${record.commit}, as this checkout is`, build);
  }
}

async function tar(name: string, seconds: number): Promise<Uint8Array> {
  const args = ["--create", "--format=ustar", "--sort=name", `--mtime=@${seconds}`, "--owner=0", "--group=0", "--numeric-owner"];
  const { success, stdout, stderr } = await new Deno.Command("tar", {
    args: [...args, "--mode=u=rwX,go=rX", "--directory", OUT, name],
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
