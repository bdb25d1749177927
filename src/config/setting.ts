/**
 * What a setting is, before anyone gives it a value: one entry of a role's table. From the table come the flags, the
 * environment variables, the strict schema of the file, the annotated example, the JSON Schema and the tables in the manual.
 * Not here: where values come from (`resolve.ts`) and which settings a role has (`server.ts`, `connector.ts`, `agent.ts`).
 */

import * as z from "zod";

export const ROLES = ["server", "connector", "agent"] as const;
export type Role = typeof ROLES[number];

/** `word` takes one value, `list` takes any number, `switch` is true or false and has `--x` and `--no-x`. */
export type SettingShape = "word" | "list" | "switch";

export interface Setting<T> {
  readonly shape: SettingShape;
  /** Takes the value as a file gives it (JSON types) and yields the checked value. */
  readonly schema: z.ZodType<T>;
  /** Turns the text of a flag or a variable into what a file would hold. Absent: the text itself (a list: its parts). */
  readonly fromText?: (text: string) => unknown;
  readonly fallback: T;
  /** The fallback as a person would write it; null when there is none. */
  readonly fallbackText: string | null;
  /** What stands behind the flag in the help, such as `PORT`. Null for a switch. */
  readonly placeholder: string | null;
  /** One sentence without a full stop. */
  readonly summary: string;
  /** For a switch that is on by default: what turning it off does. */
  readonly offSummary: string | null;
  /** A value as a file would hold it, for the annotated example. Defaults to the fallback. */
  readonly example?: unknown;
  /** Nearly everybody sets it: the annotated example has it as an active line. */
  readonly isTypical: boolean;
  /** Other names of the key in files of earlier ztna-v1 peers. */
  readonly aliases: readonly string[];
  /** Other names of the variable. */
  readonly variableAliases: readonly string[];
  /** No flag and no variable: the key exists in files only. */
  readonly isFileOnly: boolean;
  /** Shown as `[secret]` and never taken from the command line. */
  readonly isSecret: boolean;
  /** What is shown of a value that is secret in part. */
  readonly shownAs?: (value: T) => string;
  /** Kept for files and commands of earlier ztna-v1 peers: why it has no effect here. Who gives it is warned. */
  readonly noEffect: string | null;
}

// deno-lint-ignore no-explicit-any
export type SettingTable = Readonly<Record<string, Setting<any>>>;

/** The checked values of a table. */
export type SettingValues<S extends SettingTable> = { readonly [K in keyof S]: S[K] extends Setting<infer T> ? T : never };

/** A key that earlier ztna-v1 peers have and this version does not: a file may only switch it off. */
export interface PlannedKey {
  readonly key: string;
  /** `file` is all of it: what says the same elsewhere asks for nothing here. */
  readonly isOff: (value: unknown, file: Readonly<Record<string, unknown>>) => boolean;
  readonly hint: string;
}

/** One role: its table, where its files lie, and how its values become the plain object that the role is started with. */
export interface RoleDefinition<S extends SettingTable, R> {
  readonly role: Role;
  readonly settings: S;
  /** Keys that may also be given by position, in this order. */
  readonly positional: readonly (keyof S & string)[];
  /** Tried in this order when no file is named. */
  readonly defaultFiles: readonly string[];
  readonly planned: readonly PlannedKey[];
  /** Checks the rules that concern several settings. Throws a usage error. */
  readonly finish: (resolved: Resolved<S>) => R;
}

/** Where an effective value came from. */
export type ValueSource =
  | { readonly kind: "flag"; readonly name: string }
  | { readonly kind: "position"; readonly name: string }
  | { readonly kind: "variable"; readonly name: string }
  | { readonly kind: "file"; readonly path: string; readonly key: string; readonly line: number | null }
  | { readonly kind: "default" };

/** Every effective value with its source. */
export interface Resolved<S extends SettingTable> {
  readonly values: SettingValues<S>;
  /** The values as they were given, for people; a default as its text. */
  readonly given: { readonly [K in keyof S]: unknown };
  readonly sources: { readonly [K in keyof S]: ValueSource };
}

/** The source in a few words: `--port`, `POSTERN_PORT`, `server.json:3 port`, `default`. */
export function formatSource(source: ValueSource): string {
  switch (source.kind) {
    case "flag":
    case "variable":
      return source.name;
    case "position":
      return `argument ${source.name}`;
    case "file":
      return `${source.path}${source.line === null ? "" : `:${source.line}`} ${source.key}`;
    case "default":
      return "default";
  }
}

/** `client_cert` is `--client-cert`. */
export function flagOf(key: string): string {
  return `--${key.replaceAll("_", "-")}`;
}

/** `client_cert` is `POSTERN_CLIENT_CERT`. */
export function variableOf(key: string): string {
  return `POSTERN_${key.toUpperCase()}`;
}

interface SettingOptions<T> {
  readonly schema: z.ZodType<T>;
  readonly summary: string;
  readonly offSummary?: string;
  readonly fallbackText?: string;
  readonly example?: unknown;
  readonly isTypical?: boolean;
  readonly fromText?: (text: string) => unknown;
  readonly aliases?: readonly string[];
  readonly variableAliases?: readonly string[];
  readonly isFileOnly?: boolean;
  readonly isSecret?: boolean;
  readonly shownAs?: (value: T) => string;
  readonly noEffect?: string;
}

/** A setting with one value. */
export function word<T>(placeholder: string, fallback: NoInfer<T>, options: SettingOptions<T>): Setting<T> {
  return setting("word", placeholder, fallback, options);
}

/** A setting that may be given several times; one variable holds its values separated by commas. */
export function list<T>(placeholder: string, fallback: NoInfer<T>, options: SettingOptions<T>): Setting<T> {
  return setting("list", placeholder, fallback, options);
}

/** A setting that is on or off. */
export function onOff(fallback: boolean, options: Omit<SettingOptions<boolean>, "schema">): Setting<boolean> {
  return setting("switch", null, fallback, { ...options, schema: z.boolean({ error: "must be true or false" }) });
}

function setting<T>(shape: SettingShape, placeholder: string | null, fallback: T, options: SettingOptions<T>): Setting<T> {
  return {
    shape,
    placeholder,
    fallback,
    fallbackText: options.fallbackText ?? (fallback === null || typeof fallback === "object" ? null : String(fallback)),
    offSummary: options.offSummary ?? null,
    schema: options.schema,
    summary: options.summary,
    noEffect: options.noEffect ?? null,
    isTypical: options.isTypical ?? false,
    aliases: options.aliases ?? [],
    variableAliases: options.variableAliases ?? [],
    isFileOnly: options.isFileOnly ?? false,
    isSecret: options.isSecret ?? false,
    ...(options.shownAs === undefined ? {} : { shownAs: options.shownAs }),
    ...(options.fromText === undefined ? {} : { fromText: options.fromText }),
    ...(options.example === undefined ? {} : { example: options.example }),
  };
}
