/**
 * Opens the log that the command line, the environment and the terminal ask for: the flag wins over `POSTERN_LOG`, that over its
 * alias `RUST_LOG`, that over `info`; lines for a person on a terminal, JSON lines anywhere else.
 */
import { fileDestination, stderrDestination } from "./destination.ts";
import { type ParsedFilter, parseFilter } from "./filter.ts";
import { createLog, type Log } from "./log.ts";

export interface LogSettings {
  readonly role: string | null;
  /** `--name`; it stands in the lines unless it is the role. */
  readonly name: string | null;
  /** `--log-level` or the configuration's `log_level`; null when neither is given. */
  readonly level: string | null;
  /** `--log-file`; null for standard error. */
  readonly file: string | null;
  /** `auto` is text on a terminal, else JSON. */
  readonly format: "auto" | "json" | "text";
}

/** Throws a usage error for a filter that cannot be read (exit code 2) and `log-file` for a file that cannot be opened (1). */
export function openLog(settings: LogSettings, environment: (name: string) => string | undefined): Log {
  const { filter, warnings } = chooseFilter(settings.level, environment);
  const isTerminal = settings.file === null && Deno.stderr.isTerminal();
  const log = createLog({
    role: settings.role,
    ...(settings.name === null || settings.name === settings.role ? {} : { name: settings.name }),
    filter,
    destination: settings.file === null ? stderrDestination() : fileDestination(settings.file),
    format: settings.format === "auto" ? (isTerminal ? "text" : "json") : settings.format,
    colours: isTerminal && (environment("NO_COLOR") ?? "") === "",
  });
  for (const warning of warnings) log.sink({ level: "warn", event: "log-filter", message: warning, fields: {} });
  return log;
}

function chooseFilter(level: string | null, environment: (name: string) => string | undefined): ParsedFilter {
  if (level !== null) return parseFilter(level, "--log-level");
  for (const name of ["POSTERN_LOG", "RUST_LOG"]) {
    const text = environment(name);
    if (text !== undefined && text !== "") return parseFilter(text, name);
  }
  return parseFilter("", "--log-level");
}
