/**
 * The machines that Postern is built for, all of them on x86-64: what of the checkout goes into a binary for each, and where the binary and
 * the runtime that it is put into lie.
 */
import type { LIBRARY_DIGESTS } from "../ffi/digest.ts";

/** As in the names of releases and of the folders in lib. */
export type TargetName = keyof typeof LIBRARY_DIGESTS;

export type Target = {
  readonly name: TargetName;
  /** As the compiler of Deno calls it. */
  readonly triple: string;
  /** The native library that the binary carries. */
  readonly library: string;
  /** The binary. */
  readonly binary: string;
  /** The runtime part of Deno, which tools/toolchain.sh fetches, and the variable that names another. */
  readonly runtime: string;
  readonly runtimeVariable: string;
  /** As images call the processor. */
  readonly imageArchitecture: string;
};

export const TARGETS: Readonly<Record<TargetName, Target>> = {
  "linux-x64": {
    name: "linux-x64",
    triple: "x86_64-unknown-linux-gnu",
    library: "lib/linux-x64/libpostern_native.so",
    binary: "dist/postern",
    runtime: ".tools/bin/denort",
    runtimeVariable: "DENORT_BIN",
    imageArchitecture: "amd64",
  },
  "linux-arm64": {
    name: "linux-arm64",
    triple: "aarch64-unknown-linux-gnu",
    library: "lib/linux-arm64/libpostern_native.so",
    binary: "dist/linux-arm64/postern",
    runtime: ".tools/bin/denort-arm64",
    runtimeVariable: "DENORT_ARM64_BIN",
    imageArchitecture: "arm64",
  },
};

/** The target that a command line asks for by its name; the machine's own when it names none, undefined when there is no such target. */
export function targetOf(args: readonly string[]): Target | undefined {
  const name = args.find((arg) => arg.startsWith("--target="))?.slice("--target=".length) ?? "linux-x64";
  return Object.values(TARGETS).find((target) => target.name === name);
}
