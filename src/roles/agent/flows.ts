/** What the agent moves now, one row for each local connection. */
import type { FlowReport } from "../control/mod.ts";
import type { LocalStream } from "./local_stream.ts";

const UNKNOWN = { id: "", name: "" };

/** Up to `max` of them. Who we are and who answers is not known here: the certificate says the one, the server the other. */
export function localFlows(locals: Iterable<LocalStream>, nowMs: number, max: number): FlowReport[] {
  const found: FlowReport[] = [];
  for (const local of locals) {
    if (found.length >= max) break;
    found.push({
      service: local.service,
      protocol: "stream",
      state: local.state,
      agent: UNKNOWN,
      connector: UNKNOWN,
      source: "",
      destination: "",
      ageMs: nowMs - local.openedMs,
      bytesToService: local.bytesToService,
      bytesFromService: local.bytesFromService,
    });
  }
  return found;
}
