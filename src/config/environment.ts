/**
 * What the environment says: `POSTERN_` and the flag in upper case. Unknown names warn, and so do the addresses that Kubernetes
 * puts into every container for a service that happens to be called postern.
 */

import { nearest } from "./problem.ts";
import { type SettingTable, variableOf } from "./setting.ts";

/** Variables that belong to the program, not to a role's table. */
export const OTHER_VARIABLES = ["POSTERN_CONFIG"] as const;

/** `POSTERN_PORT=tcp://10.0.0.1:4433` and its kin: set by the cluster, not by a person. */
const KUBERNETES_VALUE = /^(?:tcp|udp|sctp):\/\//;
const KUBERNETES_NAME =
  /^POSTERN_(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)$/;

/** The variables that concern a role, by setting. */
export interface Variables {
  readonly byKey: ReadonlyMap<string, Variable>;
  /** A sentence each. */
  readonly warnings: readonly string[];
  /** Settings that two variables name: the key and both names. */
  readonly conflicts: readonly { readonly first: string; readonly second: string }[];
}

/** A variable that gives a setting. */
export interface Variable {
  readonly name: string;
  readonly text: string;
  /** The variable is `POSTERN_NO_X`: it says the opposite of what its setting is. */
  readonly isNegated: boolean;
}

/**
 * Picks the variables of `table` out of the environment. An empty value counts as none. `otherNames` are variables that other
 * roles know: they are no mistake, several roles may share one environment file.
 */
export function readVariables(
  table: SettingTable,
  environment: Readonly<Record<string, string>>,
  otherNames: ReadonlySet<string>,
): Variables {
  const known = namesOf(table);
  const byKey = new Map<string, Variable>();
  const warnings: string[] = [];
  const conflicts: { first: string; second: string }[] = [];
  const ignored: string[] = [];
  for (const [name, { key, isNegated }] of known) {
    const text = environment[name];
    if (text === undefined || text === "") continue;
    if (name.endsWith("_PORT") && KUBERNETES_VALUE.test(text)) {
      ignored.push(name);
      continue;
    }
    const first = byKey.get(key);
    if (first === undefined) byKey.set(key, { name, text, isNegated });
    else if (name.startsWith("POSTERN_")) conflicts.push({ first: first.name, second: name });
  }
  for (const [name, text] of Object.entries(environment).sort(([a], [b]) => a < b ? -1 : 1)) {
    if (!name.startsWith("POSTERN_") || known.has(name)) continue;
    if (KUBERNETES_NAME.test(name) || KUBERNETES_VALUE.test(text)) ignored.push(name);
    else if (!otherNames.has(name)) warnings.push(unknownVariable(name, [...known.keys()]));
  }
  if (ignored.length > 0) warnings.push(`Ignored what Kubernetes sets for a service called postern: ${ignored.sort().join(", ")}`);
  return { byKey, warnings, conflicts };
}

/** Every variable name of a table, in the order of preference within one setting. */
export function namesOf(table: SettingTable): Map<string, { readonly key: string; readonly isNegated: boolean }> {
  const names = new Map<string, { readonly key: string; readonly isNegated: boolean }>();
  for (const [key, setting] of Object.entries(table)) {
    if (setting.isFileOnly) continue;
    names.set(variableOf(key), { key, isNegated: false });
    if (setting.shape === "switch") names.set(variableOf(`no_${key}`), { key, isNegated: true });
    for (const alias of setting.variableAliases) names.set(alias, { key, isNegated: false });
  }
  return names;
}

function unknownVariable(name: string, known: readonly string[]): string {
  const meant = nearest(name, known);
  return `Unknown environment variable ${name}${meant === null ? "" : ` (did you mean ${meant}?)`}`;
}
