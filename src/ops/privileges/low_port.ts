/**
 * Whether a role will bind a port below 1024, judged before its settings are read, because privileges are given up before anything
 * is loaded: by the shape of texts. To be wrong costs one capability too many, or a bind that fails with words.
 */

/** A port below 1024 behind a key that ends in `port`, behind an address, or before `=SERVICE`. */
const LOW = "(?:[1-9][0-9]{0,2}|10[01][0-9]|102[0-3])";
const LOW_PORT = new RegExp(
  [`port["']?[\\s=:]+["']?${LOW}(?![0-9.])`, `[0-9a-f\\]]:${LOW}(?![0-9:.])`, `(?:^|[\\s"'=,\\[-])${LOW}=[a-zA-Z]`]
    .join("|"),
  "im",
);

/** Binding is what is asked about: where a connector's services lie says nothing. */
const BINDING = /^POSTERN_(?:PORT|BIND|FORWARD|METRICS_(?:PORT|ADDR))$/;

/**
 * `args` begin with the role. `readText` gives a configuration file's text, or null when there is none; `defaultFiles` are those that
 * the role looks for itself.
 */
export function mayNeedLowPort(
  args: readonly string[],
  environment: Readonly<Record<string, string>>,
  readText: (path: string) => string | null,
): boolean {
  const [role, ...rest] = args;
  // The server's first argument without a flag is its port.
  if (role === "server" && new RegExp(`^${LOW}$`).test(rest[0] ?? "")) return true;
  const texts = role === "connector" ? metricsTexts(rest) : [rest.join("\n"), rest.join(" ")];
  for (const [name, value] of Object.entries(environment)) {
    if (BINDING.test(name) && (role !== "connector" || name.startsWith("POSTERN_METRICS"))) {
      texts.push(`port=${value}`, ...value.split(","));
    }
  }
  const at = rest.findIndex((text) => text === "--config" || text.startsWith("--config="));
  const named = at < 0 ? environment["POSTERN_CONFIG"] : rest[at]?.slice("--config=".length) || rest[at + 1];
  const paths = named === undefined || named === "" ? DEFAULT_FILES[role ?? ""] ?? [] : [named];
  for (const path of paths) {
    const text = readText(path);
    if (text === null) continue;
    texts.push(role === "connector" ? metricsTexts(text.split(/[\n,{]/)).join("\n") : text);
    break;
  }
  return texts.some((text) => LOW_PORT.test(text));
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
