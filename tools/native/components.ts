/**
 * Writes lib/components.json: what is linked into the native library, with versions, checksums and the texts of the licences.
 * `deno run -A tools/native/components.ts [--check]`; `make native` runs it behind the build. A release takes its bill of materials and
 * its licences from the file, so that it needs no Rust.
 *
 * The linked crates are cargo's own answer (`cargo tree` without build dependencies and macros); their texts lie in cargo's copies of
 * them. Two parts are no crates: Rust's standard library and GCC's libstdc++.
 */
import { createHash } from "node:crypto";
import { dirname, join, resolve } from "node:path";
import { lockedCrates } from "../release/cargo_lock.ts";

const ROOT = resolve(import.meta.dirname ?? ".", "..", "..");
const CRATE = join(ROOT, "ffi", "native");
const OUT = join(ROOT, "lib", "components.json");
const TARGET = "x86_64-unknown-linux-gnu";
/** The crate of this repository: no third party's. */
const OWN = "postern_native";
const LICENCE_FILE = /^(licen[cs]e|copying|notice)/i;

/** Something that is linked into the native library. */
export type NativeComponent = {
  readonly name: string;
  readonly version: string;
  /** An SPDX expression. */
  readonly license: string;
  /** What its licences ask to be passed on. */
  readonly texts: readonly string[];
};

export type NativeComponents = {
  /** The Cargo.lock that this belongs to. */
  readonly lockSha256: string;
  readonly quiche: string;
  readonly boringssl: string;
  readonly components: readonly NativeComponent[];
};

type CargoPackage = { readonly name: string; readonly version: string; readonly license: string; readonly manifest_path: string };

function collect(): NativeComponents {
  const linked = new Set(
    cargo("tree", "-e", "normal,no-proc-macro", "--target", TARGET, "--prefix", "none", "--no-dedupe", "--format", "{p}")
      .split("\n").map((line) => line.split(" ").slice(0, 2).join(" ").replace(" v", " ")),
  );
  const metadata: { readonly packages: readonly CargoPackage[] } = JSON.parse(
    cargo("metadata", "--format-version", "1", "--filter-platform", TARGET),
  );
  const crates = metadata.packages.filter(({ name, version }) => name !== OWN && linked.has(`${name} ${version}`));
  const components = crates.map((crate): NativeComponent => {
    const license = crate.license.replaceAll("/", " OR ");
    return { name: crate.name, version: crate.version, license, texts: licenceTexts(dirname(crate.manifest_path), license) };
  });
  const boring = crates.find(({ name }) => name === "boring-sys");
  if (boring === undefined) throw new Error("boring-sys is not among the linked crates");
  const boringssl = boringsslOf(dirname(boring.manifest_path), boring.version);
  const lock = Deno.readFileSync(join(CRATE, "Cargo.lock"));
  return {
    lockSha256: createHash("sha256").update(lock).digest("hex"),
    quiche: versionOf(lockedCrates(new TextDecoder().decode(lock)), "quiche"),
    boringssl: boringssl.version,
    components: [...components, boringssl, rustLibrary(), cxxLibrary()].sort((a, b) => (a.name < b.name ? -1 : 1)),
  };
}

/** One of several licences is enough: where a crate may be had under MIT, that one's text; and every notice. */
function licenceTexts(folder: string, license: string): string[] {
  const names = [...Deno.readDirSync(folder)].map(({ name }) => name).filter((name) => LICENCE_FILE.test(name)).sort();
  const mit = names.filter((name) => /mit/i.test(name));
  const isChoice = / OR /.test(license) && !/ AND /.test(license);
  const wanted = isChoice && mit.length > 0 ? [...mit, ...names.filter((name) => /notice/i.test(name))] : names;
  if (wanted.length === 0) throw new Error(`${folder} has no text of its licence`);
  return wanted.map((name) => Deno.readTextFileSync(join(folder, name)));
}

/** The copy of BoringSSL inside of boring-sys. It has no releases: its interface has a number, and the crate says which copy it is. */
function boringsslOf(folder: string, crateVersion: string): NativeComponent {
  const header = Deno.readTextFileSync(join(folder, "deps/boringssl/include/openssl/base.h"));
  const api = /^#define BORINGSSL_API_VERSION (\d+)$/m.exec(header)?.[1];
  if (api === undefined) throw new Error("BoringSSL's header names no version");
  return {
    name: "BoringSSL",
    version: `api ${api} of boring-sys ${crateVersion}`,
    license: "Apache-2.0",
    texts: [Deno.readTextFileSync(join(folder, "deps/boringssl/LICENSE"))],
  };
}

function rustLibrary(): NativeComponent {
  const sysroot = output("rustc", "--print", "sysroot").trim();
  const version = output("rustc", "--version").split(" ")[1] ?? "";
  const texts = [Deno.readTextFileSync(join(sysroot, "share/doc/rust/licenses/MIT.txt"))];
  return { name: "Rust standard library", version, license: "MIT OR Apache-2.0", texts };
}

/** Linked statically; GCC's exception lets the result be under any licence, and asks for no text to be passed on. */
function cxxLibrary(): NativeComponent {
  const version = output("g++", "-dumpfullversion").trim();
  const note =
    "Linked under the GCC Runtime Library Exception 3.1; the sources are those of GCC of this version, https://gcc.gnu.org.\n";
  return { name: "libstdc++", version, license: "GPL-3.0-or-later WITH GCC-exception-3.1", texts: [note] };
}

function versionOf(crates: readonly { readonly name: string; readonly version: string }[], name: string): string {
  const crate = crates.find((one) => one.name === name);
  if (crate === undefined) throw new Error(`Cargo.lock names no ${name}`);
  return crate.version;
}

function cargo(command: string, ...args: string[]): string {
  return output("cargo", command, "--locked", "--manifest-path", join(CRATE, "Cargo.toml"), ...args);
}

function output(program: string, ...args: string[]): string {
  const { success, stdout, stderr } = new Deno.Command(program, { args, stdin: "null" }).outputSync();
  if (!success) throw new Error(`${program} ${args[0]}: ${new TextDecoder().decode(stderr)}`);
  return new TextDecoder().decode(stdout);
}

if (import.meta.main) {
  const text = JSON.stringify(collect(), null, 1) + "\n";
  if (!Deno.args.includes("--check")) Deno.writeTextFileSync(OUT, text);
  else if (Deno.readTextFileSync(OUT) !== text) {
    console.error(
      "postern: error: lib/components.json is not what is linked\npostern: hint: deno run -A tools/native/components.ts",
    );
    Deno.exit(1);
  }
}
