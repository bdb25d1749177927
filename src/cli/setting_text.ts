/** A setting's value as a person reads it: secrets are masked, lists are joined. */
import type { SettingTable } from "../config/mod.ts";

/** The text of the value that was given for `key`; `-` for none. */
export function settingText(table: SettingTable, key: string, value: unknown): string {
  if (value === null || value === undefined) return "-";
  if (table[key]?.isSecret === true) return "[secret]";
  if (Array.isArray(value)) return value.map((item) => typeof item === "string" ? item : JSON.stringify(item)).join(", ");
  return typeof value === "string" ? value : JSON.stringify(value);
}
