/**
 * The root of a file system with nothing but the packages that every Debian has, made by debootstrap from the mirror of this machine's
 * apt: {@linkcode bareRoot} unpacks it once. Nothing in it is configured, and no folder of it can be written to by anybody but root.
 */
import { join } from "node:path";
import { missing } from "../../tools/needs.ts";
import { run } from "./unit_fixture.ts";

/** The oldest Debian with glibc 2.34 or newer: it has 2.36, the one before it 2.31. */
export const OLDEST_DEBIAN = "bookworm";
/** A slow mirror is no failure of ours: the test is skipped then. */
const SECONDS_MAX = "180";

/** The root's path, or in words what is missing for it. It goes when the tests of this process are over. */
export async function bareRoot(): Promise<{ readonly path: string } | string> {
  const lack = missing({ root: true, tools: ["debootstrap", "apt-get", "unshare", "chroot", "timeout"], files: ["dist/postern"] });
  if (lack !== undefined) return lack;
  const mirror = await debianMirror();
  if (mirror === null) return "a Debian mirror in the settings of apt";
  const path = Deno.makeTempDirSync({ prefix: "postern-bare-" });
  // The first stage: packages are fetched, checked and unpacked. What would follow starts programs in there.
  const words = ["--foreign", "--variant=minbase", "--include=libgcc-s1", OLDEST_DEBIAN, path, mirror];
  const { code, stdout } = await run("timeout", ["--kill-after=5", SECONDS_MAX, "debootstrap", ...words]);
  globalThis.addEventListener("unload", () => Deno.removeSync(path, { recursive: true }));
  if (code !== 0) return `a mirror that gives Debian's packages: ${stdout.trim().split("\n").pop()}`;
  // debootstrap may leave a link to the machine's own /proc.
  if (Deno.lstatSync(join(path, "proc")).isSymlink) Deno.removeSync(join(path, "proc"));
  // mktemp's 0700, and the folders that anybody may write to.
  Deno.chmodSync(path, 0o755);
  for (const folder of ["proc", "opt", "tmp", "var/tmp", "var/lock", "run", "run/lock", "dev"]) {
    Deno.mkdirSync(join(path, folder), { recursive: true });
    Deno.chmodSync(join(path, folder), 0o755);
  }
  return { path };
}

/**
 * A command that runs the one behind it in the root, as nobody in particular and in `/opt`. `folder` is seen in there at its own place; the
 * mounts are of a namespace of their own, and go with the command.
 */
export function inRoot(root: string, folder: string): readonly string[] {
  const inside = root + folder;
  const mounts = `mkdir -p '${inside}' && mount --bind '${folder}' '${inside}' && mount -t proc proc '${root}/proc'`;
  const enter = `exec chroot --userspec=65532:65532 --groups= '${root}' /bin/sh -c 'cd /opt && exec "$@"' sh "$@"`;
  return ["unshare", "--mount", "/bin/sh", "-c", `${mounts} && ${enter}`, "sh"];
}

async function debianMirror(): Promise<string | null> {
  const only = ["Created-By: Packages", "Label: Debian", "Origin: Debian"];
  const { code, stdout } = await run("apt-get", ["indextargets", "--format", "$(REPO_URI)", ...only]);
  return code === 0 ? stdout.split("\n")[0] || null : null;
}
