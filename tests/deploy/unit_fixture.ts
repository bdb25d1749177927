/** The units of deploy/systemd as tests read them: systemd.syntax(7), as far as they use it, and copies with other paths to look at. */
import { join, resolve } from "node:path";
import { sourceFiles } from "../../tools/suites.ts";

export const ROOT = resolve(import.meta.dirname ?? ".", "..", "..");
export const UNITS = join(ROOT, "deploy", "systemd");

/** Section to key to its values, in their order. */
export type Unit = ReadonlyMap<string, ReadonlyMap<string, readonly string[]>>;

/** Reads a unit or a drop-in. */
export function readUnit(path: string): Unit {
  const unit = new Map<string, Map<string, string[]>>();
  let section = "";
  for (const line of Deno.readTextFileSync(path).replaceAll(/\\\n\s*/g, "").split("\n")) {
    const text = line.trim();
    if (text === "" || text.startsWith("#") || text.startsWith(";")) continue;
    const heading = /^\[(.+)\]$/.exec(text)?.[1];
    if (heading !== undefined) {
      section = heading;
      continue;
    }
    const at = text.indexOf("=");
    if (at < 0) throw new Error(`${path}: no setting: ${text}`);
    const keys = unit.get(section) ?? new Map<string, string[]>();
    unit.set(section, keys);
    keys.set(text.slice(0, at), [...keys.get(text.slice(0, at)) ?? [], text.slice(at + 1)]);
  }
  return unit;
}

/** The values of `Section.Key`, none when it is not there. */
export function values(unit: Unit, name: string): readonly string[] {
  const [section = "", key = ""] = name.split(".");
  return unit.get(section)?.get(key) ?? [];
}

/** The files of deploy/systemd whose names end so, without their folder. */
export function unitFiles(...ends: readonly string[]): string[] {
  return [...Deno.readDirSync(UNITS)].map((entry) => entry.name).filter((name) => ends.some((end) => name.endsWith(end))).sort();
}

/** The programs that units start, without signs before them. */
export function programsOf(unit: Unit): string[] {
  const lines = ["ExecStart", "ExecReload"].flatMap((key) => values(unit, `Service.${key}`));
  return lines.map((line) => line.replace(/^[-@:+!]+/, "").split(" ")[0] ?? "").filter((program) => program !== "");
}

/** Copies all units and their drop-ins into a new folder in `root`, where the programs that they start exist. Their paths. */
export function copyUnits(root: string): string[] {
  const folder = join(root, "units");
  const isUnit = (path: string) => /\.(service|timer|conf)$/.test(path);
  return sourceFiles(UNITS, isUnit).map((name) => {
    let text = Deno.readTextFileSync(join(UNITS, name));
    for (const program of new Set(programsOf(readUnit(join(UNITS, name))))) {
      Deno.mkdirSync(join(root, program, ".."), { recursive: true });
      Deno.writeTextFileSync(join(root, program), "#!/bin/sh\n", { mode: 0o755 });
      text = text.replaceAll(program, root + program);
    }
    const path = join(folder, name);
    Deno.mkdirSync(join(path, ".."), { recursive: true });
    Deno.writeTextFileSync(path, text);
    return path;
  }).filter((path) => !path.endsWith(".conf"));
}

/** Runs a program to its end. */
export async function run(
  program: string,
  args: readonly string[],
  options: { readonly cwd?: string; readonly env?: Readonly<Record<string, string>>; readonly clearEnv?: boolean } = {},
): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }> {
  const { code, stdout, stderr } = await new Deno.Command(program, { ...options, args: [...args], stdin: "null" }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}
