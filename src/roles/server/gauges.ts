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
  readonly remote: { readonly dropped: number } | null;
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
    const { endpoint, departures, flows, limiter, remote, sockets, streams, signals } = this.#sources;
    publishTransport(this.#counters, endpoint, sockets);
    publishDepartures(this.#counters, departures);
    this.#set("droppedRing", remote?.dropped ?? 0);
    this.#set("activeStreams", streams());
    this.#set("activeSignalSessions", signals.sessions);
    this.#set("heldSignalBytes", signals.heldBytes);
    this.#set("flows", flows.size);
    this.#set("flowsLearned", flows.counters.learned);
    this.#set("flowsRewritten", flows.counters.rewritten);
    this.#set("flowsExpired", flows.counters.expired);
    for (const limit of LIMIT_NAMES) this.#set(`limit:${limit}`, limiter.refused[limit]);
  }

  #set(key: ServerMetric, value: number): void {
    this.#counters.cells[this.#counters.index[key]] = value;
  }
}

/** What each worker counts of its own endpoint and sockets. */
export function publishTransport(
  metrics: MetricCells<typeof SERVER_METRICS>,
  endpoint: Endpoint,
  sockets: readonly UdpSocket[],
): void {
  const set = (key: ServerMetric, value: number) => metrics.cells[metrics.index[key]] = value;
  let sendErrors = 0, gsoOff = 0, overShare = 0;
  for (const socket of sockets) {
    sendErrors += socket.sendErrors;
    overShare += socket.arrivalsDropped;
    if (socket.gsoOff) gsoOff = 1;
  }
  set("sendErrors", sendErrors);
  set("gsoOff", gsoOff);
  set("ignoredOverShare", overShare);
  const { counters, localIds } = endpoint;
  set("activeConnections", endpoint.size);
  set("accepted", counters.accepted);
  set("retries", counters.retries);
  set("retryTokensValidated", counters.tokensValidated);
  set("retryTokenFailures", counters.tokensRefused);
  set("versionNegotiations", counters.versionNegotiations);
  set("resets", counters.resets);
  set("migrations", counters.migrations);
  set("handshakeTimeouts", counters.handshakeTimeouts);
  set("rotations", localIds.rotations);
  set("connectionIds", localIds.size);
  set("ignoredMalformed", counters.malformed);
  set("ignoredVersion", counters.otherVersion);
  set("ignoredUnknown", counters.unknownConnection);
  set("ignoredShort", counters.shortInitial);
  set("ignoredConnectionLimit", counters.overConnectionLimit);
  set("ignoredHandshakeLimit", counters.overHandshakeLimit);
  set("ignoredPolicy", counters.overPolicy);
  set("ignoredRetryLimit", counters.overRetryLimit);
  set("ignoredRetiredId", counters.retiredId);
  set("ignoredForeignId", counters.foreignId);
  set("handedOver", counters.handedOver);
  set("undecryptable", counters.undecryptable);
  set("droppedReceive", counters.datagramsOverflowed);
}

/** What each worker counts of the datagrams that leave by it. */
export function publishDepartures(metrics: MetricCells<typeof SERVER_METRICS>, { queues, refused }: Departures): void {
  const set = (key: ServerMetric, value: number) => metrics.cells[metrics.index[key]] = value;
  set("waitingDatagrams", queues.waiting);
  set("droppedQueue", queues.counters.senderFull + refused);
  set("droppedQueueMemory", queues.counters.memoryFull);
}
