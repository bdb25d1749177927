/** What to write instead of a wrong value: a setting, and where the wrong one stands, come in; a hint goes out. */
import type { FlatIssue } from "./problem.ts";
import { flagOf, type Setting, type SettingTable, type ValueSource } from "./setting.ts";

/** A value that would do, written where the wrong one stands. */
export function exampleOf(key: string, setting: Setting<unknown>, source: ValueSource): string | null {
  if (setting.shape === "switch") return source.kind === "variable" ? `${source.name}=true or ${source.name}=false` : null;
  const first = Array.isArray(setting.example) ? setting.example[0] : setting.example ?? setting.fallback;
  if (typeof first !== "string" && typeof first !== "number" || first === "") return null;
  switch (source.kind) {
    case "flag":
      return `for example ${source.name} ${first}`;
    case "variable":
      return `for example ${source.name}=${first}`;
    case "file":
      return `for example ${source.key}: ${first}`;
    default:
      return `for example ${flagOf(key)} ${first}`;
  }
}

/** A value that would do in the file; null where the wrong part is inside an object. */
export function exampleInFile(settings: SettingTable, { path }: FlatIssue): string | null {
  const [name = "", index, ...deeper] = path;
  if (deeper.length > 0 || index !== undefined && typeof index !== "number") return null;
  const entry = Object.entries(settings).find(([key, { aliases }]) => key === name || aliases.includes(String(name)));
  return entry === undefined ? null : exampleOf(entry[0], entry[1], { kind: "file", path: "", key: String(name), line: null });
}
