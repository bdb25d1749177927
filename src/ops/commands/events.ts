/** `postern events`: the newest security events, and, if asked for, the next ones as they happen. */
import { SECURITY_EVENTS, type SecurityEvent, SEVERITIES, usageError } from "../../base/mod.ts";
import { escapeText } from "../log/mod.ts";
import { AdminClient, findTarget } from "./admin_client.ts";
import { type CommandInput, JSON_OPTION, type OpsCommand, TARGET_OPTIONS, textOption } from "./command.ts";

const LIMIT_DEFAULT = "20";

export const eventsCommand: OpsCommand = {
  name: "events",
  summary: "Show security events",
  description: "Shows the newest security events, oldest first; --follow goes on with those that happen.",
  arguments: [],
  options: [
    ...TARGET_OPTIONS,
    JSON_OPTION,
    { flags: "--follow", description: "go on with events as they happen" },
    { flags: "--type <TYPE>", description: "only events of this type, such as auth_failure" },
    { flags: "--severity <SEVERITY>", description: "only events of this severity: info, warning, error or critical" },
    { flags: "--limit <N>", description: `how many, 1 to 1000 (${LIMIT_DEFAULT})` },
  ],
  examples: [["postern events --follow", "watch"], ["postern events --type handshake_failure --json", "for a script"]],
  run: async (input, platform, signal) => {
    const wanted = wantedEvents(input);
    const write = (event: SecurityEvent) =>
      platform.writeOut(input.options["json"] === true ? JSON.stringify(event) + "\n" : eventLine(event));
    const target = findTarget(input, platform);
    using client = await AdminClient.open(target);
    const { events } = await client.read<{ readonly events: SecurityEvent[] }>(`/v1/events?${wanted.query}`);
    for (const event of events.reverse()) write(event);
    if (input.options["follow"] !== true) return 0;
    signal?.addEventListener("abort", () => client[Symbol.dispose]());
    try {
      await client.follow("/v1/events/stream", (line) => {
        const event = JSON.parse(line) as SecurityEvent | { readonly lost: number };
        if ("lost" in event) platform.writeError(`postern: ${event.lost} events were left out\n`);
        else if (wanted.matches(event)) write(event);
      });
    } catch (error) {
      if (signal?.aborted !== true) throw error;
    }
    return 0;
  },
};

function wantedEvents(input: CommandInput): { readonly query: URLSearchParams; matches(event: SecurityEvent): boolean } {
  const [type, severity, limit] = [
    textOption(input, "type"),
    textOption(input, "severity"),
    textOption(input, "limit") ?? LIMIT_DEFAULT,
  ];
  if (type !== undefined && !(type in SECURITY_EVENTS)) {
    throw usageError(
      `--type ${JSON.stringify(type)} is not a type of event`,
      `types are ${Object.keys(SECURITY_EVENTS).join(", ")}`,
    );
  }
  if (severity !== undefined && !SEVERITIES.some((known) => known === severity)) {
    throw usageError(`--severity ${JSON.stringify(severity)} is not a severity`, `severities are ${SEVERITIES.join(", ")}`);
  }
  if (!/^(?:[1-9][0-9]{0,2}|1000)$/.test(limit)) {
    throw usageError(`--limit ${JSON.stringify(limit)} is not a number from 1 to 1000`);
  }
  const query = new URLSearchParams({ limit });
  if (type !== undefined) query.set("type", type);
  if (severity !== undefined) query.set("severity", severity);
  return {
    query,
    matches: (event) =>
      (type === undefined || event.event_type === type) && (severity === undefined || event.severity === severity),
  };
}

function eventLine(event: SecurityEvent): string {
  const details = Object.entries(event.details).map(([name, value]) => `${name}=${JSON.stringify(value)}`).join(" ");
  const from = event.remote_addr === undefined ? "" : ` from ${event.remote_addr}`;
  return `${event.timestamp}  ${event.severity.padEnd(8)}  ${event.event_type}${escapeText(from)}: ${event.description} ${
    escapeText(details)
  }`
    .trimEnd() + "\n";
}
