/** Dials, lets one load run, and tells what it found: for a person, or as one JSON object. */
import { PosternError } from "../../base/mod.ts";
import { ALPN_V1, ALPN_V2 } from "../../core/wire/mod.ts";
import { ProbeConnection, type ProbeTarget, type ProbeWorld, ROLE_TRANSPORT } from "../probe/mod.ts";
import { loadDatagrams, registerAgent } from "./datagrams.ts";
import type { BenchPlan } from "./options.ts";
import { loadStreams } from "./streams.ts";
import { Tally } from "./tally.ts";

/** A server that says nothing for so long is not there. */
const DIAL_MS = 10_000;

/** The version of the protocol that a load needs. */
export function protocolOf({ mode }: BenchPlan): string {
  return mode === "streams" ? ALPN_V2 : ALPN_V1;
}

/** Returns the exit code: 0 when answers came. Throws a PosternError when the server or the service cannot be had. */
export async function runBench(
  world: ProbeWorld,
  plan: BenchPlan,
  target: Omit<ProbeTarget, "protocols">,
  line: (text: string) => void,
): Promise<number> {
  const transport = plan.mode === "streams" ? { transport: ROLE_TRANSPORT } : {};
  const connection = new ProbeConnection(world, { ...target, ...transport, protocols: [protocolOf(plan)] });
  const tally = new Tally();
  try {
    if (!await connection.until(() => connection.isEstablished, DIAL_MS)) {
      throw refused(connection.trouble?.message ?? `no answer within ${DIAL_MS / 1_000} s`, connection.trouble?.hint);
    }
    const begin = () => connection.clockMs;
    let begunMs = begin();
    if (plan.mode === "streams") {
      const problem = await loadStreams(world, connection, plan, tally, () => begunMs = begin());
      if (problem !== null) throw refused(connection.trouble?.message ?? problem, connection.trouble?.hint);
    } else {
      const problem = await registerAgent(connection, plan.service);
      if (problem !== null) throw refused(problem, connection.trouble?.hint);
      const largest = connection.datagramMaxBytes;
      if (plan.sizeBytes + 28 > largest) throw refused(`a packet of ${plan.sizeBytes} bytes does not fit: --size ${largest - 28}`);
      begunMs = begin();
      await loadDatagrams(world, connection, plan, tally);
    }
    const result = resultOf(plan, tally, Math.min(plan.durationMs, begin() - begunMs) / 1_000);
    line(plan.isJson ? JSON.stringify(result) : textOf(plan, result));
    return tally.answered > 0 ? 0 : 1;
  } finally {
    connection.close();
  }
}

function refused(message: string, hint?: string): PosternError {
  return new PosternError(`no measurement: ${message}`, {
    code: "rejected",
    hint: hint ?? "`postern doctor` looks at the whole way",
  });
}

function resultOf({ mode, service, sizeBytes, connections, isOneWay }: BenchPlan, tally: Tally, seconds: number) {
  const { sent, answered, bytes } = tally;
  return {
    mode,
    service,
    bytes: sizeBytes,
    ...(mode === "streams" ? { connections, oneWay: isOneWay } : {}),
    seconds,
    sent,
    answered,
    lostPercent: mode === "streams" || sent === 0 ? null : (sent - answered) / sent * 100,
    perSecond: answered / seconds,
    mbitPerSecond: bytes * 8 / seconds / 1e6,
    p50Ms: tally.within(0.5),
    p99Ms: tally.within(0.99),
    p999Ms: tally.within(0.999),
  };
}

function textOf({ perSecond, mode }: BenchPlan, result: ReturnType<typeof resultOf>): string {
  const time = (ms: number | null) => ms === null ? "over a second, or none" : `${ms.toFixed(2)} ms`;
  const lanes = mode === "streams" ? ` on ${result.connections} connection${result.connections === 1 ? "" : "s"}` : "";
  const pace = perSecond === null ? "as fast as answers come" : `${perSecond} a second`;
  return [
    `${mode} of ${result.bytes} bytes to ${result.service}${lanes}, ${pace}, ${result.seconds.toFixed(1)} s`,
    `sent      ${result.sent}`,
    `answered  ${result.answered}, ${result.perSecond.toFixed(1)} a second, ${result.mbitPerSecond.toFixed(2)} Mbit/s of payload`,
    ...(result.lostPercent === null ? [] : [`lost      ${result.lostPercent.toFixed(3)} %`]),
    `p50       ${time(result.p50Ms)}`,
    `p99       ${time(result.p99Ms)}`,
    `p99.9     ${time(result.p999Ms)}`,
  ].join("\n");
}
