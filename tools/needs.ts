/**
 * For tests that need something of the machine: `Deno.test(needing({ root: true, tools: ["ip"] }, "two hosts", async () => { ... }))`
 * is skipped when something is missing; its name then says what. Never silently: the runner lists every skipped test.
 */
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";

/** What a test may ask for. */
export type Needs = {
  /** Runs as user 0. */
  readonly root?: boolean;
  /** Programs on PATH. */
  readonly tools?: readonly string[];
  /** Files or folders; relative ones from the repository's root, such as `dist/postern`. */
  readonly files?: readonly string[];
  /** Environment variables that are set and not empty. */
  readonly env?: readonly string[];
};

const ROOT = resolve(import.meta.dirname ?? ".", "..");

/** A test that is skipped, with the reason in its name, where the machine lacks what it needs. */
export function needing(needs: Needs, name: string, fn: (t: Deno.TestContext) => void | Promise<void>): Deno.TestDefinition {
  const lack = missing(needs);
  return { name: lack === undefined ? name : `${name} [needs ${lack}]`, ignore: lack !== undefined, fn };
}

/** What is missing, in words, or undefined when nothing is. */
export function missing(needs: Needs): string | undefined {
  const lack = [
    ...(needs.root === true && Deno.uid() !== 0 ? ["root"] : []),
    ...(needs.tools ?? []).filter((tool) => !isOnPath(tool)),
    ...(needs.files ?? []).filter((file) => !existsSync(resolve(ROOT, file))),
    ...(needs.env ?? []).filter((name) => (Deno.env.get(name) ?? "") === "").map((name) => `$${name}`),
  ];
  return lack.length === 0 ? undefined : lack.join(", ");
}

function isOnPath(tool: string): boolean {
  // System folders as well: a person's PATH often leaves out those where ip and iptables are.
  const folders = [...(Deno.env.get("PATH") ?? "").split(":"), "/usr/local/sbin", "/usr/sbin", "/sbin"];
  return folders.some((folder) => folder !== "" && existsSync(join(folder, tool)));
}
