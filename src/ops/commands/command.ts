/** What a command is, for whoever mounts it, and what it may touch. */

import type { TlsContext, TlsContextOptions } from "../../io/http/mod.ts";

/** The flags are in the notation of the command line's parser: `--json`, `--role <ROLE>`, `--watch [SECONDS]`. */
export interface CommandOption {
  readonly flags: string;
  readonly description: string;
}

/** What was typed. An option is keyed by its long name in camelCase; a switch is true, an option with a value its text. */
export interface CommandInput {
  readonly options: Readonly<Record<string, string | boolean | undefined>>;
  readonly positional: readonly string[];
}

/** The part of the world that these commands use. */
export interface CommandPlatform {
  readonly writeOut: (text: string) => void;
  readonly writeError: (text: string) => void;
  readonly isTerminal: (stream: "stdout") => boolean;
  readonly environment: () => Readonly<Record<string, string>>;
  /** Rejects with the runtime's errors. */
  readonly readFile: (path: string) => Promise<Uint8Array>;
  /** A TLS context of the bundled library; loads it. */
  readonly createTlsContext: (options: TlsContextOptions) => TlsContext;
}

export interface OpsCommand {
  readonly name: string;
  readonly summary: string;
  readonly description: string;
  /** `<ID>` must be given, `[LEVEL]` may be. */
  readonly arguments: readonly { readonly name: string; readonly description: string }[];
  readonly options: readonly CommandOption[];
  readonly examples: readonly (readonly [command: string, what: string])[];
  /** Resolves to the exit code. Rejects with a PosternError. `signal` ends what would go on for ever. */
  run(input: CommandInput, platform: CommandPlatform, signal?: AbortSignal): Promise<number>;
}

/** Which running process is meant. */
export const TARGET_OPTIONS: readonly CommandOption[] = [
  { flags: "--role <ROLE>", description: "server, connector or agent, when several run on this machine" },
  { flags: "--unix-socket-path <PATH>", description: "the admin socket, when it is not at its default place" },
];
export const JSON_OPTION: CommandOption = { flags: "--json", description: "print JSON" };

/** The text of an option, or undefined. */
export function textOption(input: CommandInput, name: string): string | undefined {
  const value = input.options[name];
  return typeof value === "string" ? value : undefined;
}
