/**
 * Which privileges a role needs, for a port below 1024 or a TUN device, judged before its settings are read, because all others are
 * given up before anything is loaded: by the shape of texts. To be wrong costs one capability too many, or a failure with words.
 */
import type { CapabilityName } from "../../io/native_process.ts";

/** A port below 1024 behind a key that ends in `port`, behind an address, or before `=SERVICE`. */
const LOW = "(?:[1-9][0-9]{0,2}|10[01][0-9]|102[0-3])";
const LOW_PORT = new RegExp(
  [`port["']?[\\s=:]+["']?${LOW}(?![0-9.])`, `[0-9a-f\\]]:${LOW}(?![0-9:.])`, `(?:^|[\\s"'=,\\[-])${LOW}=[a-zA-Z]`]
    .join("|"),
  "im",
);

/** Binding is what is asked about: where a connector's services lie says nothing. */
const BINDING = /^POSTERN_(?:PORT|BIND|FORWARD|METRICS_(?:PORT|ADDR))$/;

/** The agent's setting, in a file or as a flag. */
const TUN = /(?:^|[\s"'{,-])tun["']?(?:[\s=:]|$)/im;

/** `args` begin with the role. `readText` gives a configuration file's text, or null when there is none. */
export function capabilitiesWanted(
  args: readonly string[],
  environment: Readonly<Record<string, string>>,
  readText: (path: string) => string | null,
): CapabilityName[] {
  const [role = "", ...rest] = args;
  const file = configText(role, rest, environment, readText);
  const texts = [...rest, file, "POSTERN_TUN" in environment ? "tun=" : ""];
  return [
    ...mayNeedLowPort(role, rest, environment, file) ? ["net_bind_service"] as const : [],
    ...role === "agent" && texts.some((text) => TUN.test(text)) ? ["net_admin"] as const : [],
  ];
}

function mayNeedLowPort(
  role: string,
  rest: readonly string[],
  environment: Readonly<Record<string, string>>,
  file: string,
): boolean {
  // The server's first argument without a flag is its port.
  if (role === "server" && new RegExp(`^${LOW}$`).test(rest[0] ?? "")) return true;
  const texts = role === "connector" ? metricsTexts(rest) : [rest.join("\n"), rest.join(" ")];
  for (const [name, value] of Object.entries(environment)) {
    if (BINDING.test(name) && (role !== "connector" || name.startsWith("POSTERN_METRICS"))) {
      texts.push(`port=${value}`, ...value.split(","));
    }
  }
  texts.push(role === "connector" ? metricsTexts(file.split(/[\n,{]/)).join("\n") : file);
  return texts.some((text) => LOW_PORT.test(text));
}

/** The configuration file that the role will read; "" without one. */
function configText(
  role: string,
  rest: readonly string[],
  environment: Readonly<Record<string, string>>,
  readText: (path: string) => string | null,
): string {
  const at = rest.findIndex((text) => text === "--config" || text.startsWith("--config="));
  const named = at < 0 ? environment["POSTERN_CONFIG"] : rest[at]?.slice("--config=".length) || rest[at + 1];
  for (const path of named === undefined || named === "" ? DEFAULT_FILES[role] ?? [] : [named]) {
    const text = readText(path);
    if (text !== null) return text;
  }
  return "";
}

/** The lines or arguments about the metrics listener, each with the one behind it. */
function metricsTexts(parts: readonly string[]): string[] {
  return parts.flatMap((part, at) => /metrics[-_](?:port|addr)/.test(part) ? [`${part} ${parts[at + 1] ?? ""}`] : []);
}

/** As in the roles' tables, which are not loaded here; a test compares the two. */
export const DEFAULT_FILES: Readonly<Record<string, readonly string[]>> = {
  server: ["/etc/postern/server.yaml", "/etc/postern/server.json", "/etc/ztna/intermediate.json", "./intermediate.json"],
  connector: ["/etc/postern/connector.yaml", "/etc/postern/connector.json", "/etc/ztna/connector.json", "./connector.json"],
  agent: ["/etc/postern/agent.yaml", "/etc/postern/agent.json"],
};
