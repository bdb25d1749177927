/**
 * Joins what was said where: flags win over arguments by position, those over the environment, that over the file, that over
 * the defaults. Texts and values in; checked values with the source of each out. Wrong ones are all told at once.
 */

import * as z from "zod";
import type { ConfigFile } from "./file.ts";
import { OTHER_VARIABLES, readVariables, type Variable } from "./environment.ts";
import { type FlatIssue, flattenIssues, keysAt, nearest, ProblemList } from "./problem.ts";
import { readSecurityTree, SECURITY_KEY, securitySchema } from "./security_tree.ts";
import { exampleInFile, exampleOf } from "./setting_example.ts";
import {
  flagOf,
  formatSource,
  type Resolved,
  type RoleDefinition,
  type Setting,
  type SettingTable,
  type SettingValues,
  type ValueSource,
} from "./setting.ts";

/** What a flag was given: its texts in order, or the last of `--x` and `--no-x`. */
export type FlagValue = readonly string[] | boolean;

/** Everything that was said from outside. */
export interface SettingInputs {
  /** By key. */
  readonly flags: ReadonlyMap<string, FlagValue>;
  /** Texts by position, see {@linkcode RoleDefinition.positional}. */
  readonly positional: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly file: ConfigFile | null;
  /** Variables of other roles, which are no mistake here. */
  readonly otherVariables: ReadonlySet<string>;
}

/** The checked settings of a role, before and after its own rules. */
export interface Resolution<S extends SettingTable, R> {
  readonly resolved: Resolved<S>;
  /** What the role is started with. Throws a usage error when settings do not fit together. */
  readonly finish: () => R;
  /** A sentence each. */
  readonly warnings: readonly string[];
}

/** Resolves the settings of one role. Throws one usage error that lists everything that is wrong by itself. */
export function resolveSettings<S extends SettingTable, R>(
  definition: RoleDefinition<S, R>,
  inputs: SettingInputs,
): Resolution<S, R> {
  const problems = new ProblemList();
  const warnings: string[] = [];
  const values: Record<string, unknown> = {};
  const given: Record<string, unknown> = {};
  const sources: Record<string, ValueSource> = {};
  for (const [key, setting] of Object.entries(definition.settings)) {
    values[key] = setting.fallback;
    given[key] = setting.fallbackText;
    sources[key] = { kind: "default" };
  }
  const layer = (entries: ReadonlyMap<string, Given>) => {
    for (const [key, { value, raw, source }] of entries) {
      values[key] = value;
      given[key] = raw;
      sources[key] = source;
    }
  };
  if (inputs.file !== null) layer(fromFile(definition, inputs.file, problems, warnings));
  layer(fromEnvironment(definition.settings, inputs, problems, warnings));
  layer(fromPositions(definition, inputs.positional, problems));
  layer(fromFlags(definition.settings, inputs.flags, problems));
  problems.throwIfAny();
  for (const [key, { noEffect }] of Object.entries(definition.settings)) {
    const source = sources[key];
    if (noEffect === null || source === undefined || source.kind === "default" || values[key] === null) continue;
    warnings.push(`${formatSource(source)} has no effect: ${noEffect}`);
  }
  const resolved = {
    values: values as SettingValues<S>,
    given: given as Resolved<S>["given"],
    sources: sources as Resolved<S>["sources"],
  };
  return { resolved, finish: () => definition.finish(resolved), warnings };
}

interface Given {
  readonly value: unknown;
  /** Before it was checked. */
  readonly raw: unknown;
  readonly source: ValueSource;
}

/** The strict schema of a role's file: every key and alias optional, nothing else allowed. The tree may be left to {@linkcode addTree}. */
export function fileSchema(
  settings: SettingTable,
  planned: readonly { readonly key: string }[],
  hasTree = true,
): z.ZodObject {
  const shape: Record<string, z.ZodType> = {};
  for (const [key, setting] of Object.entries(settings)) {
    for (const name of [key, ...setting.aliases]) shape[name] = setting.schema.optional();
  }
  for (const { key } of planned) shape[key] = z.unknown().optional();
  if (hasTree) shape[SECURITY_KEY] = securitySchema().optional();
  return z.strictObject(shape);
}

function fromFile<S extends SettingTable, R>(
  definition: RoleDefinition<S, R>,
  file: ConfigFile,
  problems: ProblemList,
  warnings: string[],
): Map<string, Given> {
  const { settings, planned } = definition;
  const schema = fileSchema(settings, planned, SECURITY_KEY in file.value);
  const result = schema.safeParse(file.value);
  if (!result.success) {
    for (const issue of flattenIssues(result.error.issues)) {
      addFileIssue(file, issue, keysAt(schema, issue.path), problems, exampleInFile(settings, issue));
    }
  }
  for (const { key, isOff, hint } of planned) {
    if (!(key in file.value) || isOff(file.value[key], file.value)) continue;
    problems.add({ place: placeIn(file, [key]), why: "is not in this version", hint });
  }
  const given = new Map<string, Given>();
  if (!result.success) return given;
  for (const [key, setting] of Object.entries(settings)) {
    const names = [key, ...setting.aliases].filter((name) => name in file.value);
    const [name, second] = names;
    if (name === undefined) continue;
    if (second !== undefined) {
      problems.add({ place: placeIn(file, [second]), why: `says again what ${name} says: keep one of the two` });
    }
    given.set(key, {
      value: result.data[name],
      raw: file.value[name],
      source: { kind: "file", path: file.path, key: name, line: file.lineOf([name]) },
    });
  }
  addTree(definition, file, given, problems, warnings);
  return given;
}

/** What the `security:` tree says, beside what the flat keys say. */
function addTree<S extends SettingTable, R>(
  { role, settings }: RoleDefinition<S, R>,
  file: ConfigFile,
  given: Map<string, Given>,
  problems: ProblemList,
  warnings: string[],
): void {
  const tree = readSecurityTree(role, file, problems, (path) => placeIn(file, path));
  warnings.push(...tree.warnings);
  for (const { key, raw, path } of tree.values) {
    const setting = settings[key], before = given.get(key)?.source;
    if (setting === undefined) continue;
    if (before?.kind === "file") {
      problems.add({ place: placeIn(file, path), why: `says again what ${before.key} says: keep one of the two` });
    } else {take(
        given,
        key,
        setting,
        raw,
        { kind: "file", path: file.path, key: path.join("."), line: file.lineOf(path) },
        problems,
      );}
  }
}

function addFileIssue(
  file: ConfigFile,
  issue: FlatIssue,
  known: readonly string[],
  problems: ProblemList,
  example: string | null,
): void {
  for (const key of issue.unknownKeys) {
    const meant = nearest(key, known);
    problems.add({
      place: placeIn(file, [...issue.path, key]),
      why: `unknown key${meant === null ? "" : ` (did you mean ${meant}?)`}`,
      hint: "keys that begin with _ are comments",
    });
  }
  if (issue.unknownKeys.length > 0) return;
  const value = issue.path.reduce<unknown>(
    (inside, step) => typeof inside === "object" && inside !== null ? (inside as Record<PropertyKey, unknown>)[step] : undefined,
    file.value,
  );
  problems.add({ place: placeIn(file, issue.path), value, why: issue.why, ...(example === null ? {} : { hint: example }) });
}

/** `server.json:7: services[1].backend`. */
function placeIn(file: ConfigFile, path: readonly PropertyKey[]): string {
  const line = file.lineOf(path);
  const inside = path.map((step) => typeof step === "number" ? `[${step}]` : `.${String(step)}`).join("").replace(/^\./, "");
  return `${file.path}${line === null ? "" : `:${line}`}${inside === "" ? "" : `: ${inside}`}`;
}

function fromEnvironment(
  settings: SettingTable,
  inputs: SettingInputs,
  problems: ProblemList,
  warnings: string[],
): Map<string, Given> {
  const variables = readVariables(settings, inputs.environment, new Set([...inputs.otherVariables, ...OTHER_VARIABLES]));
  warnings.push(...variables.warnings);
  for (const { first, second } of variables.conflicts) {
    problems.add({ place: second, why: `says again what ${first} says: keep one of the two` });
  }
  const given = new Map<string, Given>();
  for (const [key, variable] of variables.byKey) {
    const setting = settings[key];
    if (setting !== undefined) {
      take(given, key, setting, variableValue(setting, variable), { kind: "variable", name: variable.name }, problems);
    }
  }
  return given;
}

const TRUTH: Readonly<Record<string, boolean>> = {
  true: true,
  yes: true,
  on: true,
  "1": true,
  false: false,
  no: false,
  off: false,
  "0": false,
};

function variableValue(setting: Setting<unknown>, { text, isNegated }: Variable): unknown {
  if (setting.shape === "list") return text.split(",").flatMap((part) => textValue(setting, part.trim()));
  if (setting.shape === "word") return textValue(setting, text);
  const truth = TRUTH[text.toLowerCase()];
  return truth === undefined ? text : truth !== isNegated;
}

function fromPositions<S extends SettingTable, R>(
  definition: RoleDefinition<S, R>,
  texts: readonly string[],
  problems: ProblemList,
): Map<string, Given> {
  const given = new Map<string, Given>();
  for (const [i, text] of texts.entries()) {
    const key = definition.positional[i];
    const setting = key === undefined ? undefined : definition.settings[key];
    if (key === undefined || setting === undefined) {
      problems.add({ place: `argument ${i + 1}`, value: text, why: "is one too many" });
      continue;
    }
    const value = textValue(setting, text);
    take(given, key, setting, setting.shape === "list" ? [value] : value, { kind: "position", name: key }, problems);
  }
  return given;
}

function fromFlags(settings: SettingTable, flags: ReadonlyMap<string, FlagValue>, problems: ProblemList): Map<string, Given> {
  const given = new Map<string, Given>();
  for (const [key, value] of flags) {
    const setting = settings[key];
    if (setting === undefined) continue;
    if (typeof value === "boolean") {
      take(given, key, setting, value, { kind: "flag", name: flagOf(value ? key : `no_${key}`) }, problems);
      continue;
    }
    const texts = value.flatMap((text) => textValue(setting, text));
    take(given, key, setting, setting.shape === "list" ? texts : texts.at(-1), { kind: "flag", name: flagOf(key) }, problems);
  }
  return given;
}

function textValue(setting: Setting<unknown>, text: string): unknown {
  return setting.fromText === undefined ? text : setting.fromText(text);
}

/** Checks one raw value and notes it, or notes what is wrong with it. */
function take(
  given: Map<string, Given>,
  key: string,
  setting: Setting<unknown>,
  raw: unknown,
  source: ValueSource,
  problems: ProblemList,
): void {
  const result = setting.schema.safeParse(raw);
  if (result.success) {
    given.set(key, { value: result.data, raw, source });
    return;
  }
  for (const issue of flattenIssues(result.error.issues)) {
    const index = issue.path[0];
    const value = Array.isArray(raw) && typeof index === "number" ? raw[index] : raw;
    const hint = exampleOf(key, setting, source);
    problems.add({ place: formatSource(source), value, why: issue.why, ...(hint === null ? {} : { hint }) });
  }
}
