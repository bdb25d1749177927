/**
 * Builds the image: `deno run -A tools/image.ts [--stage-only]`, after `make build`. First the image's files are laid out in
 * dist/image/amd64: the binary, the shared objects that the loader says it needs (it and the native library inside of it), and the
 * public authorities as Debian packages them, for clients that are told of none. Then buildah makes `localhost/postern:VERSION` of them,
 * with no base image and no network, and writes it to dist/image/postern-VERSION-amd64.tar, which `docker load` and `podman load` take.
 */
import { dirname, join, resolve } from "node:path";
import denoConfig from "../deno.json" with { type: "json" };
import { sourceDate } from "./build_record.ts";

const ROOT = resolve(import.meta.dirname ?? ".", "..");
const ARCHITECTURE = "amd64";
const STAGE = join(ROOT, "dist", "image", ARCHITECTURE);
const BINARY = join(ROOT, "dist", "postern");
const NATIVE = join(ROOT, "lib", "linux-x64", "libpostern_native.so");
/** Where a client looks for the authorities of its system. */
const BUNDLE = "/etc/ssl/certs/ca-certificates.crt";
/** What the package brought: in the bundle of this machine there may be private authorities too, which are nobody else's. */
const AUTHORITIES = "/usr/share/ca-certificates/mozilla";
const IMAGE = `localhost/postern:${denoConfig.version}`;

const encoder = new TextEncoder();

/** Without it the C library asks name servers before /etc/hosts, and a name that an engine writes there would not be found. */
const NAME_SERVICE = "hosts: files dns\n";

/** Lays out the image's files; their paths in the image. */
function stageImage(seconds: number): string[] {
  if (!exists(BINARY)) stop("dist/postern is missing", "make build");
  const files = ["/postern", ...sharedObjects(BINARY, NATIVE)];
  if (exists(STAGE)) Deno.removeSync(STAGE, { recursive: true });
  for (const path of files) {
    const source = path === "/postern" ? BINARY : path;
    place(path, Deno.readFileSync(source), Deno.statSync(source).mode ?? 0);
  }
  place(BUNDLE, encoder.encode(authorities()), 0o644);
  place("/etc/nsswitch.conf", encoder.encode(NAME_SERVICE), 0o644);
  setTimes(STAGE, seconds);
  return [...files, BUNDLE, "/etc/nsswitch.conf"].sort();
}

function authorities(): string {
  if (!exists(AUTHORITIES)) stop(`${AUTHORITIES} is missing`, "apt-get install ca-certificates");
  const names = [...Deno.readDirSync(AUTHORITIES)].map(({ name }) => name).filter((name) => name.endsWith(".crt")).sort();
  return names.map((name) => Deno.readTextFileSync(join(AUTHORITIES, name)).trim() + "\n").join("");
}

/** What the loader maps beside the programs themselves, by the paths under which it looks; the loader too. */
function sharedObjects(...programs: readonly string[]): string[] {
  const { success, stdout } = new Deno.Command("ldd", { args: [...programs] }).outputSync();
  const text = new TextDecoder().decode(stdout);
  if (!success || text.includes("not found")) stop(`this machine does not have every shared object:\n${text}`, "ldd dist/postern");
  return [...new Set([...text.matchAll(/^\s+(?:\S+ => )?(\/\S+) \(0x/gm)].map(([, path = ""]) => path))];
}

function place(inside: string, bytes: Uint8Array, mode: number): void {
  const path = join(STAGE, inside);
  Deno.mkdirSync(dirname(path), { recursive: true });
  Deno.writeFileSync(path, bytes);
  Deno.chmodSync(path, (mode & 0o111) === 0 ? 0o644 : 0o755);
}

/** Every file and folder from the inside out, since a folder's time changes with what is put into it. */
function setTimes(path: string, seconds: number): void {
  if (Deno.statSync(path).isDirectory) {
    Deno.chmodSync(path, 0o755);
    for (const { name } of Deno.readDirSync(path)) setTimes(join(path, name), seconds);
  }
  Deno.utimeSync(path, seconds, seconds);
}

/** Docker's format, since only that one carries a health check. */
async function buildImage(seconds: number): Promise<string> {
  const archive = join(ROOT, "dist", "image", `postern-${denoConfig.version}-${ARCHITECTURE}.tar`);
  const containerfile = join(ROOT, "deploy", "container", "Containerfile");
  const pins = [
    "--pull-never",
    "--network=none",
    "--format=docker",
    `--timestamp=${seconds}`,
    `--build-arg=TARGETARCH=${ARCHITECTURE}`,
  ];
  await buildah("bud", "--quiet", "--layers=false", ...pins, `--file=${containerfile}`, `--tag=${IMAGE}`, ROOT);
  if (exists(archive)) Deno.removeSync(archive);
  await buildah("push", "--quiet", IMAGE, `docker-archive:${archive}:${IMAGE}`);
  return archive;
}

async function buildah(...args: string[]): Promise<void> {
  const command = new Deno.Command("buildah", { args, env: { BUILDAH_ISOLATION: "chroot" }, stdin: "null", stdout: "null" });
  const { success, code } = await command.spawn().status;
  if (!success) stop(`buildah ${args[0]} ended with ${code}`, "its own words stand above");
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

if (import.meta.main) {
  const seconds = await sourceDate(ROOT);
  const files = stageImage(seconds);
  let bytes = 0;
  for (const file of files) {
    const { size } = Deno.statSync(join(STAGE, file));
    console.log(`${String(size).padStart(11)} ${file}`);
    bytes += size;
  }
  console.log(`${(bytes / 2 ** 20).toFixed(1)} MiB in ${files.length} files`);
  if (!Deno.args.includes("--stage-only")) console.log(`${IMAGE}: ${await buildImage(seconds)}`);
}
