/**
 * What Postern is made of: deno.lock, ffi/native/Cargo.lock, lib/components.json and the build's list of bundled packages → one list of
 * parts. The bill of materials (bom.ts) and the licences (licences.ts) are two ways to write it down.
 */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { dirname, join } from "node:path";
import type { NativeComponents } from "../native/components.ts";
import type { Target } from "../targets.ts";
import { lockedCrates } from "./cargo_lock.ts";

/** One third party's part, or one that only builds or tests. */
export type Part = {
  readonly name: string;
  readonly version: string;
  /** A package URL; "" for what no registry has. */
  readonly purl: string;
  /** Whether something of it is in the binary. */
  readonly isBundled: boolean;
  /** An SPDX expression; "" where it is not known, which no bundled part may have. */
  readonly license: string;
  /** The texts that a bundled part's licence asks to be passed on. */
  readonly texts: readonly string[];
  /** Of the archive or file that it came as, lower-case hexadecimal. */
  readonly hash: { readonly algorithm: "SHA-256" | "SHA-512"; readonly hex: string } | null;
};

const LICENCE_FILE = /^(licen[cs]e|copying|notice|copyrightnotice)/i;

/** All parts of the checkout at `root` whose binary for `target` is built, sorted by their package URLs. Throws when a bundled part has no licence. */
export function partsOf(root: string, target: Target): Part[] {
  const native: NativeComponents = JSON.parse(readText(root, "lib/components.json"));
  const parts = [...packages(root, target), ...crates(root, native), ...unregistered(root, native, target), ...runtime(root)];
  for (const part of parts) {
    if (part.isBundled && (part.license === "" || part.texts.length === 0)) {
      throw new Error(`${part.name} ${part.version} is in the binary, and its licence is not known`);
    }
  }
  return parts.sort((a, b) => (a.purl + a.name < b.purl + b.name ? -1 : 1));
}

function packages(root: string, target: Target): Part[] {
  const lock: { readonly npm: Readonly<Record<string, { readonly integrity: string }>> } = JSON.parse(readText(root, "deno.lock"));
  const bundled = new Set(readText(root, `${target.binary}.packages.txt`).split("\n"));
  const seen = new Set<string>();
  return Object.entries(lock.npm).flatMap(([key, { integrity }]): Part[] => {
    // Behind the version there may be one of a peer: `pkijs@4.0.0_asn1js@4.0.0`.
    const id = key.replace(/^(@?[^@]+@[^_]+).*$/, "$1");
    if (seen.has(id)) return [];
    seen.add(id);
    const at = id.lastIndexOf("@");
    const [name, version] = [id.slice(0, at), id.slice(at + 1)];
    const folder = join(root, "node_modules", ".deno", id.replaceAll("/", "+"), "node_modules", name);
    return [{
      name,
      version,
      purl: `pkg:npm/${name.replace("@", "%40")}@${version}`,
      isBundled: bundled.has(id),
      license: packageLicense(folder),
      texts: bundled.has(id) ? licenceTexts(folder) : [],
      hash: { algorithm: "SHA-512", hex: hexOfIntegrity(integrity) },
    }];
  });
}

function packageLicense(folder: string): string {
  try {
    const { license } = JSON.parse(readText(folder, "package.json"));
    return typeof license === "string" ? license : "";
  } catch {
    return ""; // not installed: one for another system
  }
}

function licenceTexts(folder: string): string[] {
  const names = [...Deno.readDirSync(folder)].filter(({ name, isFile }) => isFile && LICENCE_FILE.test(name)).map(({ name }) =>
    name
  );
  return names.sort().map((name) => readText(folder, name));
}

function crates(root: string, native: NativeComponents): Part[] {
  const lock = readText(root, "ffi/native/Cargo.lock");
  if (createHash("sha256").update(lock).digest("hex") !== native.lockSha256) {
    throw new Error("lib/components.json belongs to another Cargo.lock: run deno run -A tools/native/components.ts");
  }
  const linked = new Map(native.components.map((component) => [`${component.name} ${component.version}`, component]));
  return lockedCrates(lock).map(({ name, version, checksum }): Part => {
    const component = linked.get(`${name} ${version}`);
    return {
      name,
      version,
      purl: `pkg:cargo/${name}@${version}`,
      isBundled: component !== undefined,
      license: component?.license ?? "",
      texts: component?.texts ?? [],
      hash: { algorithm: "SHA-256", hex: checksum },
    };
  });
}

/** What is linked into the native library and comes from no registry. Two come with the compilers, which are not the same for each target. */
function unregistered(root: string, native: NativeComponents, target: Target): Part[] {
  const names = ["BoringSSL", "Rust standard library", "libstdc++"];
  const { rust, gcc }: { readonly rust: string; readonly gcc: string } = JSON.parse(
    readText(root, join(dirname(target.library), "compilers.json")),
  );
  const ofCompilers = new Map([["Rust standard library", rust], ["libstdc++", gcc]]);
  const found = native.components.filter(({ name }) => names.includes(name));
  return found.map(({ name, version, license, texts }) => ({
    name,
    version: ofCompilers.get(name) ?? version,
    purl: "",
    isBundled: true,
    license,
    texts,
    hash: null,
  }));
}

/** The runtime that `deno compile` puts the program into. What that one is made of is in its own lock file, at its own version. */
function runtime(root: string): Part[] {
  const { deno, v8 } = Deno.version;
  const text = (name: string) => [readText(root, `lib/runtime/LICENSE.${name}`)];
  return [
    { name: "Deno runtime", version: deno, purl: `pkg:github/denoland/deno@v${deno}`, license: "MIT", texts: text("deno") },
    { name: "V8", version: v8, purl: "", license: "BSD-3-Clause", texts: text("v8") },
  ].map((part) => ({ ...part, isBundled: true, hash: null }));
}

/** A subresource integrity value, `sha512-` and Base64, as hexadecimal. */
function hexOfIntegrity(integrity: string): string {
  const [algorithm, digest = ""] = integrity.split("-", 2);
  if (algorithm !== "sha512") throw new Error(`deno.lock has an integrity that is no SHA-512: ${integrity}`);
  return Buffer.from(digest, "base64").toString("hex");
}

function readText(folder: string, name: string): string {
  return Deno.readTextFileSync(join(folder, name));
}
