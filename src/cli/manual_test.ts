/**
 * The manual lists every command with its flags, every exit code, and every variable that is read beside those of the settings.
 * After a change: `deno test -A src/cli/manual_test.ts -- --update && deno fmt docs`.
 */

import { assertEquals } from "@std/assert";
import type { Command } from "commander";
import { EXIT_CODES } from "../base/mod.ts";
import { ROLES } from "../config/mod.ts";
import { OPS_COMMANDS } from "../ops/commands/mod.ts";
import type { Platform } from "./platform.ts";
import { code, readManual, table, testManualBlocks } from "../../tools/manual_fixture.ts";
import { createProgram } from "./program.ts";

const ROOT = new URL("../../", import.meta.url);

/** Enough of the world to build the tree of commands. */
const NO_WORLD = { version: "", isTerminal: () => false, environment: () => ({}) } as unknown as Platform;

/** A row for each command that does something, but the roles: their flags are settings. */
function commandRows(command: Command, path: readonly string[]): string[][] {
  const words = [...path, command.name()];
  if (command.commands.length > 0) {
    const isShow = words.join(" ") === "postern config show";
    const inside = command.commands.slice(0, isShow ? 1 : undefined).flatMap((inside) => commandRows(inside, words));
    // With flags of its own it does something by itself.
    return words.length === 2 && command.options.length > 0 ? [...rowsOf(command, path), ...inside] : inside;
  }
  return rowsOf(command, path);
}

function rowsOf(command: Command, path: readonly string[]): string[][] {
  const words = [...path, command.name()];
  const isRole = ROLES.some((role) => role === command.name());
  if (isRole && words.length === 2) return [];
  const isOfRole = isRole && path.at(-1) === "show";
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

testManualBlocks(BLOCKS);

Deno.test("docs/OPERATIONS.md: every variable that is read beside those of the settings, and no other", () => {
  const listed = /<!-- list: other variables -->\n([^]*?)<!-- end -->/.exec(readManual())?.[1] ?? "";
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
