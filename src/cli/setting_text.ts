/** A setting's value as a person reads it: secrets are masked, lists are joined. */
import type { SettingTable } from "../config/mod.ts";

/** The text of the value that was given for `key`; `-` for none. */
export function settingText(table: SettingTable, key: string, value: unknown): string {
  if (value === null || value === undefined) return "-";
  const shown = shownValue(table, key, value);
  if (Array.isArray(shown)) return shown.map((item) => typeof item === "string" ? item : JSON.stringify(item)).join(", ");
  return typeof shown === "string" ? shown : JSON.stringify(shown);
}

/** The value as it may be shown: nothing of a secret, and of an address that has one in it only whose it is. */
export function shownValue(table: SettingTable, key: string, value: unknown): unknown {
  if (value === null || value === undefined) return value;
  const setting = table[key];
  return setting?.isSecret === true ? "[secret]" : setting?.shownAs?.(value) ?? value;
}
