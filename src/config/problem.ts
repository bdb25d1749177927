/**
 * How a wrong setting is told: the place, the value, what was expected. What flows through: sources and zod's issues; what
 * comes out: one line each, and near misses for names that nobody knows.
 */

import type * as z from "zod";
import { parseServiceId, type PosternError, sanitizeForLog, usageError } from "../base/mod.ts";
import { formatSource, type ValueSource } from "./setting.ts";

/** Longer values are cut in messages. */
const VALUE_MAX_CHARS = 80;
/** More problems than these are counted, not listed. */
const PROBLEMS_MAX = 10;

/** A wrong value or key, with its place in front. */
export interface Problem {
  readonly place: string;
  /** The offending value, if showing it helps. */
  readonly value?: unknown;
  readonly why: string;
  readonly hint?: string;
}

/** Collects problems, so that a person sees all of them at once. */
export class ProblemList {
  readonly #problems: Problem[] = [];

  add(problem: Problem): void {
    this.#problems.push(problem);
  }

  /** Throws one usage error with a line for each problem, if there is any. */
  throwIfAny(): void {
    if (this.#problems.length === 0) return;
    const lines = this.#problems.slice(0, PROBLEMS_MAX).map(formatProblem);
    if (this.#problems.length > PROBLEMS_MAX) lines.push(`and ${this.#problems.length - PROBLEMS_MAX} more problems`);
    throw usageError(lines.join("\n"), this.#problems.find((problem) => problem.hint !== undefined)?.hint);
  }
}

/** `--port "abc": must be a port number`. */
export function formatProblem(problem: Problem): string {
  const value = problem.value === undefined ? "" : ` ${formatValue(problem.value)}`;
  return `${problem.place}${value}: ${problem.why}`;
}

/** A usage error about one effective value. */
export function settingError(source: ValueSource, value: unknown, why: string, hint?: string): PosternError {
  return usageError(formatProblem({ place: formatSource(source), ...(value === undefined ? {} : { value }), why }), hint);
}

/** Says what is left when only the stricter grammar refuses an id. */
export function legacyHint(service: string): string | undefined {
  return parseServiceId(service, { legacy: true }).ok ? "--allow-legacy-service-ids takes such ids" : undefined;
}

/** A value as JSON, harmless for a terminal and cut. */
export function formatValue(value: unknown): string {
  const json = typeof value === "string" ? value : JSON.stringify(value) ?? String(value);
  const clean = sanitizeForLog(json, VALUE_MAX_CHARS).replaceAll('\\"', '"');
  const cut = clean.length < json.length && json.length > VALUE_MAX_CHARS ? `${clean}...` : clean;
  return typeof value === "string" ? `"${cut}"` : cut;
}

const TYPE_WORDS: Readonly<Record<string, string>> = {
  string: "text",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  array: "a list",
  object: "an object",
};

/** A path inside a value and what is wrong there. */
export interface FlatIssue {
  readonly path: readonly PropertyKey[];
  readonly why: string;
  /** Keys that an object must not have. */
  readonly unknownKeys: readonly string[];
}

/** Zod's issues without nesting: of a union, only the branch that came furthest speaks. */
export function flattenIssues(issues: readonly z.core.$ZodIssue[], under: readonly PropertyKey[] = []): FlatIssue[] {
  return issues.flatMap((issue): FlatIssue[] => {
    const path = [...under, ...issue.path];
    if (issue.code === "invalid_union" && issue.errors.length > 0) {
      const furthest = [...issue.errors].sort((a, b) => progress(b) - progress(a))[0] ?? [];
      if (progress(furthest) > 0) return flattenIssues(furthest, path);
    }
    if (issue.code === "unrecognized_keys") return [{ path, why: "", unknownKeys: issue.keys }];
    return [{ path, why: describe(issue), unknownKeys: [] }];
  });
}

/** 0 when a branch of a union failed at once because of the type, more when it got inside. */
function progress(issues: readonly z.core.$ZodIssue[]): number {
  const deepest = Math.max(0, ...issues.map((issue) => issue.path.length + (issue.code === "invalid_union" ? 1 : 0)));
  return issues.some((issue) => issue.code === "invalid_type" && issue.path.length === 0) ? 0 : 1 + deepest;
}

function describe(issue: z.core.$ZodIssue): string {
  if (!issue.message.startsWith("Invalid")) return issue.message;
  const expected = issue.code === "invalid_type" ? TYPE_WORDS[issue.expected] : undefined;
  return expected === undefined ? "has the wrong type" : `must be ${expected}`;
}

/** The keys that an object at this place may have; none where there is no object. */
export function keysAt(schema: z.core.$ZodType, path: readonly PropertyKey[]): string[] {
  const def = (schema as z.ZodType).def as {
    readonly innerType?: z.core.$ZodType;
    readonly in?: z.core.$ZodType;
    readonly element?: z.core.$ZodType;
    readonly options?: readonly z.core.$ZodType[];
    readonly shape?: Readonly<Record<string, z.core.$ZodType>>;
  };
  const wrapped = def.innerType ?? def.in;
  if (wrapped !== undefined) return keysAt(wrapped, path);
  if (def.options !== undefined) return def.options.flatMap((option) => keysAt(option, path));
  const [step, ...rest] = path;
  if (step === undefined) return Object.keys(def.shape ?? {});
  const inside = typeof step === "number"
    ? def.element
    : Object.hasOwn(def.shape ?? {}, step)
    ? def.shape?.[String(step)]
    : undefined;
  return inside === undefined ? [] : keysAt(inside, rest);
}

/** The known name that was probably meant, or null: at most two slips, and fewer than half of the word. */
export function nearest(name: string, known: readonly string[]): string | null {
  const wanted = simplify(name);
  let best: string | null = null;
  let bestDistance = 3;
  for (const candidate of known) {
    const distance = editDistance(wanted, simplify(candidate));
    if (distance < bestDistance && distance * 2 < candidate.length) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** Case, `-` and `_` are no difference between names. */
function simplify(name: string): string {
  return name.toLowerCase().replaceAll(/[-_]/g, "").slice(0, 64);
}

/** Insertions, deletions, replacements and swaps of neighbours (optimal string alignment). */
function editDistance(a: string, b: string): number {
  let older: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let cost = Math.min((previous[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (previous[j - 1] ?? 0) + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) cost = Math.min(cost, (older[j - 2] ?? 0) + 1);
      row.push(cost);
    }
    older = previous;
    previous = row;
  }
  return previous[b.length] ?? 0;
}
