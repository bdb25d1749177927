/**
 * Whether the committed native libraries belong to the committed sources: `deno run -R tools/native/check.ts`. Says what differs
 * and what to do, and ends with 1 when something does. It builds nothing: it compares digests.
 */
import { createHash } from "node:crypto";
import { basename, join, relative, resolve } from "node:path";

const SINGLE_SOURCES = ["ffi/native/Cargo.toml", "ffi/native/Cargo.lock", "tools/native/build.sh"];
const SOURCE_FOLDERS = ["ffi/native/src", "ffi/native/include", "ffi/native/patches"];
const PRODUCTS = ["lib/linux-x64", "lib/linux-arm64"];
const PRODUCT_FILES = ["libpostern_native.so", "postern_native.h"];

/** What is wrong in the checkout at `root`; nothing when it is whole. */
export function nativeProblems(root: string): string[] {
  const sources = sourcesDigest(root);
  return PRODUCTS.flatMap((product) => productProblems(root, product, sources));
}

function productProblems(root: string, product: string, sources: string): string[] {
  const problems: string[] = [];
  const at = (path: string) => join(root, path);
  const missing = [...PRODUCT_FILES, "SHA256SUMS", "SOURCES.sha256", "compilers.json"].map((file) => `${product}/${file}`)
    .filter((path) => !isFile(at(path)));
  if (missing.length > 0) return missing.map((path) => `${path} is missing`);

  if (Deno.readTextFileSync(at(`${product}/SOURCES.sha256`)).trim() !== sources) {
    problems.push(`the sources in ffi/native have changed since ${product} was built`);
  }
  const sums = PRODUCT_FILES.map((file) => `${digestOf(at(`${product}/${file}`))}  ${file}\n`).join("");
  if (Deno.readTextFileSync(at(`${product}/SHA256SUMS`)) !== sums) {
    problems.push(`${product}/SHA256SUMS is not that of the files beside it`);
  }
  const line = `"${basename(product)}": "${digestOf(at(`${product}/libpostern_native.so`))}"`;
  if (!Deno.readTextFileSync(at("ffi/digest.ts")).includes(line)) {
    problems.push(`ffi/digest.ts names another library than the one in ${product}`);
  }
  if (digestOf(at(`${product}/postern_native.h`)) !== digestOf(at("ffi/native/include/postern_native.h"))) {
    problems.push(`${product}/postern_native.h is not the header in ffi/native/include`);
  }
  return problems;
}

/** One digest over everything that the library is built from; the same as tools/native/sources.sh prints. */
export function sourcesDigest(root: string): string {
  const paths = [...SINGLE_SOURCES, ...SOURCE_FOLDERS.flatMap((folder) => filesBelow(root, join(root, folder)))].sort();
  const lines = paths.map((path) => `${digestOf(join(root, path))}  ${path}\n`);
  return createHash("sha256").update(lines.join("")).digest("hex");
}

function filesBelow(root: string, folder: string): string[] {
  return [...Deno.readDirSync(folder)].flatMap((entry) => {
    const path = join(folder, entry.name);
    return entry.isDirectory ? filesBelow(root, path) : [relative(root, path)];
  });
}

function digestOf(path: string): string {
  return createHash("sha256").update(Deno.readFileSync(path)).digest("hex");
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

if (import.meta.main) {
  const problems = nativeProblems(resolve(import.meta.dirname ?? ".", "..", ".."));
  for (const problem of problems) console.error(`postern: error: ${problem}`);
  if (problems.length > 0) {
    console.error(
      "postern: hint: `make native` and `make native ARM64=1` rebuild them; commit lib/ and ffi/digest.ts together with the sources",
    );
    Deno.exit(1);
  }
  console.log("the native libraries belong to their sources");
}
