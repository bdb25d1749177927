/**
 * The manual lists every command with its flags, every exit code, and every variable that is read beside those of the settings.
 * After a change: `deno test -A src/cli/manual_test.ts -- --update && deno fmt docs`.
 */

import { assert, assertEquals } from "@std/assert";
import type { Command } from "commander";
import { EXIT_CODES } from "../base/mod.ts";
import { ROLES } from "../config/mod.ts";
import { OPS_COMMANDS } from "../ops/commands/mod.ts";
import type { Platform } from "./platform.ts";
import { createProgram } from "./program.ts";

const ROOT = new URL("../../", import.meta.url);
const MANUAL = new URL("docs/OPERATIONS.md", ROOT);

/** Enough of the world to build the tree of commands. */
const NO_WORLD = { version: "", isTerminal: () => false, environment: () => ({}) } as unknown as Platform;

/** A row for each command that does something, but the roles: their flags are settings. */
function commandRows(command: Command, path: readonly string[]): string[][] {
  const words = [...path, command.name()];
  if (command.commands.length > 0) {
    const isShow = words.join(" ") === "postern config show";
    return command.commands.slice(0, isShow ? 1 : undefined).flatMap((inside) => commandRows(inside, words));
  }
  const isOfRole = ROLES.some((role) => role === command.name());
  if (isOfRole && words.length === 2) return [];
  // `config show server` stands for the three: their flags are those of the roles.
  const name = isOfRole ? [...path, "ROLE"].join(" ") : words.join(" ");
  const given = command.registeredArguments.map((argument) => argument.required ? `<${argument.name()}>` : `[${argument.name()}]`);
  const flags = isOfRole ? ["--json"] : command.options.map(({ flags }) => flags);
  return [[
    code([name, ...(isOfRole ? [] : given)].join(" ")),
    flags.map(code).join(", ") || "-",
    isOfRole ? "Show the effective settings and where each came from" : command.summary() || command.description(),
  ]];
}

const BLOCKS = new Map([
  [
    "commands",
    table(["Command", "Flags", "What it does"], commandRows(createProgram({ platform: NO_WORLD, exitCode: 0 }, OPS_COMMANDS), [])),
  ],
  ["exit codes", table(["Code", "Meaning"], Object.entries(EXIT_CODES).map(([exit, meaning]) => [exit, meaning]))],
]);

for (const [name, text] of BLOCKS) {
  Deno.test(`docs/OPERATIONS.md: ${name}`, () => {
    const manual = Deno.readTextFileSync(MANUAL);
    // Up to the block's own end, also when the block is empty.
    const marked = new RegExp(`(<!-- generated: ${name} -->\n)((?:(?!<!-- end -->)[^])*)(<!-- end -->)`);
    const found = marked.exec(manual);
    assert(found !== null, `the marker <!-- generated: ${name} --> is missing`);
    if (!Deno.args.includes("--update")) assertEquals(plain(found[2] ?? ""), plain(text));
    else Deno.writeTextFileSync(MANUAL, manual.replace(marked, () => `${found[1]}\n${text}\n\n${found[3]}`));
  });
}

Deno.test("docs/OPERATIONS.md: every variable that is read beside those of the settings, and no other", () => {
  const listed = /<!-- list: other variables -->\n([^]*?)<!-- end -->/.exec(Deno.readTextFileSync(MANUAL))?.[1] ?? "";
  const rows = listed.split("\n").flatMap((line) =>
    [...line.split("|")[1]?.matchAll(/`([A-Z_]+)`/g) ?? []].map(([, name]) => name ?? "")
  );
  assertEquals(rows.sort(), [...variablesRead(ROOT)].sort());
});

/** The names that the program's sources ask the environment for. Those of the settings are asked for by their table. */
function variablesRead(folder: URL): Set<string> {
  const names = new Set<string>();
  const look = (url: URL) => {
    const text = Deno.readTextFileSync(url);
    for (const [, name = ""] of text.matchAll(/\b(?:environment(?:\(\))?|env\.get|environ)[([]\s*"([A-Z][A-Z0-9_]*)"/g)) {
      names.add(name);
    }
  };
  const walk = (at: URL) => {
    for (const { name, isDirectory } of Deno.readDirSync(at)) {
      if (isDirectory) walk(new URL(`${name}/`, at));
      else if (name.endsWith(".ts") && !/_(?:test|fixture)\.ts$/.test(name)) look(new URL(name, at));
    }
  };
  for (const part of ["src/", "ffi/"]) walk(new URL(part, folder));
  for (const file of ["main.ts", "worker.ts"]) look(new URL(file, folder));
  return names;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}

function code(text: string): string {
  return `\`${text}\``;
}

/** Without what the formatter adds: padding and empty lines. */
function plain(text: string): string {
  const lines = text.split("\n").map((line) => line.replaceAll(/ +/g, " ").replaceAll(/-{3,}/g, "---").trim());
  return lines.filter((line) => line !== "").join("\n");
}
