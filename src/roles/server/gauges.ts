/**
 * Publishes what others count: the endpoint, the flow table, the limits, the sockets. They count where they work, in plain
 * numbers; this copies them into the shared cells now and then, so that a packet pays nothing for it.
 */
import type { MetricCells } from "../../base/mod.ts";
import type { Endpoint } from "../../core/quic/mod.ts";
import { LIMIT_NAMES, type ServerLimiter } from "../../core/ratelimit/mod.ts";
import type { FlowTable } from "../../core/registry/mod.ts";
import type { UdpSocket } from "../../io/mod.ts";
import type { Departures } from "../control/mod.ts";
import { PUBLISH_INTERVAL_MS } from "./limits.ts";
import type { SERVER_METRICS, ServerMetric } from "./metrics.ts";

export interface GaugeSources {
  readonly endpoint: Endpoint;
  readonly departures: Departures;
  readonly flows: FlowTable;
  readonly limiter: ServerLimiter;
  readonly sockets: readonly UdpSocket[];
  readonly streams: () => number;
  readonly signals: { readonly sessions: number; readonly heldBytes: number };
}

export class Gauges {
  readonly #counters: MetricCells<typeof SERVER_METRICS>;
  readonly #sources: GaugeSources;
  readonly #beganMs: number;
  #nextMs = 0;

  constructor(counters: MetricCells<typeof SERVER_METRICS>, sources: GaugeSources, nowMs: number) {
    this.#counters = counters;
    this.#sources = sources;
    this.#beganMs = nowMs;
  }

  /** Called every turn. */
  publish(nowMs: number): void {
    if (nowMs < this.#nextMs) return;
    this.#nextMs = nowMs + PUBLISH_INTERVAL_MS;
    this.#set("uptimeSeconds", Math.floor((nowMs - this.#beganMs) / 1000));
    this.#publishEndpoint();
    const { departures, flows, limiter, sockets, streams, signals } = this.#sources;
    const { queues } = departures;
    this.#set("waitingDatagrams", queues.waiting);
    this.#set("droppedQueue", queues.counters.senderFull + departures.refused);
    this.#set("droppedQueueMemory", queues.counters.memoryFull);
    this.#set("activeStreams", streams());
    this.#set("activeSignalSessions", signals.sessions);
    this.#set("heldSignalBytes", signals.heldBytes);
    this.#set("flows", flows.size);
    this.#set("flowsLearned", flows.counters.learned);
    this.#set("flowsRewritten", flows.counters.rewritten);
    this.#set("flowsExpired", flows.counters.expired);
    for (const limit of LIMIT_NAMES) this.#set(`limit:${limit}`, limiter.refused[limit]);
    let sendErrors = 0, gsoOff = 0;
    for (const socket of sockets) {
      sendErrors += socket.sendErrors;
      if (socket.gsoOff) gsoOff = 1;
    }
    this.#set("sendErrors", sendErrors);
    this.#set("gsoOff", gsoOff);
  }

  #publishEndpoint(): void {
    const { endpoint } = this.#sources;
    const { counters, localIds } = endpoint;
    this.#set("activeConnections", endpoint.size);
    this.#set("accepted", counters.accepted);
    this.#set("retries", counters.retries);
    this.#set("retryTokensValidated", counters.tokensValidated);
    this.#set("retryTokenFailures", counters.tokensRefused);
    this.#set("versionNegotiations", counters.versionNegotiations);
    this.#set("resets", counters.resets);
    this.#set("migrations", counters.migrations);
    this.#set("handshakeTimeouts", counters.handshakeTimeouts);
    this.#set("rotations", localIds.rotations);
    this.#set("connectionIds", localIds.size);
    this.#set("ignoredMalformed", counters.malformed);
    this.#set("ignoredUnknown", counters.unknownConnection);
    this.#set("ignoredShort", counters.shortInitial);
    this.#set("ignoredConnectionLimit", counters.overConnectionLimit);
    this.#set("ignoredHandshakeLimit", counters.overHandshakeLimit);
    this.#set("ignoredPolicy", counters.overPolicy);
    this.#set("ignoredRetryLimit", counters.overRetryLimit);
    this.#set("ignoredRetiredId", counters.retiredId);
    this.#set("undecryptable", counters.undecryptable);
    this.#set("droppedReceive", counters.datagramsOverflowed);
  }

  #set(key: ServerMetric, value: number): void {
    this.#counters.cells[this.#counters.index[key]] = value;
  }
}
