/** What each route does, once the caller and the input were judged. */
import type * as z from "zod";
import type { CertificateStatus, LimitStatus, SecurityEvent, StatusExtent } from "../../base/mod.ts";
import { errorResponse, type HttpResponse, jsonResponse, type PeerCredentials } from "../../io/http/mod.ts";
import type { EventQuery, SecurityEventStream } from "../events/mod.ts";
import type { Log } from "../log/mod.ts";
import type { TcpConnectionStatus } from "../metrics_server/mod.ts";
import type { OpsSource } from "../source.ts";
import { askStatus, certificateHealth, type TrafficMeter } from "../watch/mod.ts";
import { followEvents } from "./follow.ts";
import { openApiDocument } from "./openapi.ts";
import type { RouteName } from "./routes.ts";
import { type denyBody, type eventQuery, LIST_MAX, type listQuery, type logLevelBody, type tokenBody } from "./schemas.ts";
import type { TokenStore } from "./tokens.ts";
import { flowView, peerView, STATUS_FLOWS_MAX, STATUS_PEERS_MAX, statusView } from "./views.ts";

/** One request, checked: `query` and `body` are what the route's schemas gave. */
export interface Call {
  readonly caller: PeerCredentials;
  readonly query: unknown;
  readonly body: unknown;
  readonly id: string;
  readonly signal: AbortSignal;
}

export type Answers = Readonly<Record<RouteName, (call: Call) => Promise<HttpResponse> | HttpResponse>>;

export interface AnswerOptions {
  readonly source: OpsSource;
  readonly log: Log;
  readonly events: SecurityEventStream;
  readonly tokens: TokenStore;
  readonly meter: TrafficMeter;
  readonly certificates: () => readonly CertificateStatus[];
  /** Of the metrics listener. */
  readonly connections: () => readonly TcpConnectionStatus[];
  /** Of the metrics listener and the admin socket. */
  readonly limits: () => readonly LimitStatus[];
  /** Role, metrics certificates and log file. Resolves to what changed, a sentence each. */
  readonly reload: () => Promise<readonly string[]>;
}

const EVENTS_DEFAULT = 100;
/** Who asks what there is waits longer than who probes whether all is well: on a busy machine an answer late is better than none. */
const READ_TIMEOUT_MS = 10_000;

export function createAnswers(options: AnswerOptions): Answers {
  return { ...reading(options), ...steering(options) };
}

type SteeringRoute = "reload" | "setLogLevel" | "drain" | "disconnect" | "deny";

function reading(options: AnswerOptions): Omit<Answers, SteeringRoute> {
  const { source, log, events, tokens, meter } = options;
  const health = () => certificateHealth(options.certificates(), source.revocationLists(), Date.now());
  return {
    openapi: () => jsonResponse(openApiDocument(source.version)),
    caller: ({ caller }) => jsonResponse({ pid: caller.pid, uid: caller.uid, gid: caller.gid, groups: caller.groups }),
    status: () =>
      withStatus(source, (snapshot) => {
        const extras = {
          pid: Deno.pid,
          logLevel: log.filter(),
          throughput: meter.throughput(),
          certificates: health().certificates,
          connections: options.connections(),
          limits: options.limits(),
        };
        return statusView(snapshot, extras, Date.now());
      }, { peersMax: STATUS_PEERS_MAX, flowsMax: STATUS_FLOWS_MAX }),
    peers: ({ query }) =>
      withStatus(source, (snapshot) => ({
        peers: snapshot.peers.slice(0, limitOf(query, LIST_MAX)).map((peer) => peerView(peer, Date.now())),
        total: snapshot.peersTotal,
      }), { peersMax: limitOf(query, LIST_MAX), flowsMax: 0 }),
    services: () => withStatus(source, ({ services }) => ({ services })),
    flows: ({ query }) =>
      withStatus(source, (snapshot) => ({
        flows: snapshot.flows.slice(0, limitOf(query, LIST_MAX)).map((flow) => flowView(flow, Date.now())),
        total: snapshot.flowsTotal,
      }), { peersMax: 0, flowsMax: limitOf(query, LIST_MAX) }),
    limits: () => withStatus(source, ({ limits }) => ({ limits: [...limits, ...options.limits()] })),
    events: ({ query }) => {
      const { type, severity } = query as z.infer<typeof eventQuery>;
      const wanted: EventQuery = {
        limit: limitOf(query, EVENTS_DEFAULT),
        ...(type === undefined ? {} : { type }),
        ...(severity === undefined ? {} : { severity }),
      };
      const found: readonly SecurityEvent[] = events.query(wanted);
      return jsonResponse({ events: found, statistics: events.statistics() });
    },
    followEvents: ({ signal }) => ({
      status: 200,
      headers: { "content-type": "application/x-ndjson" },
      body: followEvents(events, signal),
    }),
    certificates: () => jsonResponse(health()),
    configuration: () => jsonResponse({ settings: source.configuration() }),
    logLevel: () => jsonResponse({ level: log.filter() }),
    token: ({ caller, body }) => {
      const token = tokens.issue(caller, (body as z.infer<typeof tokenBody>).bind);
      if (token === null) {
        return errorResponse(403, "token", "a token cannot be bound to a process that has ended or cannot be seen");
      }
      return jsonResponse({ token });
    },
  };
}

function steering({ source, log, reload }: AnswerOptions): Pick<Answers, SteeringRoute> {
  return {
    reload: async () => jsonResponse({ changes: await reload() }),
    setLogLevel: ({ body }) => {
      const warnings = log.setLevel((body as z.infer<typeof logLevelBody>).level, "the level");
      return jsonResponse({ level: log.filter(), warnings });
    },
    drain: async () => {
      await source.steering.drain();
      return jsonResponse({ draining: true });
    },
    disconnect: async ({ id }) => {
      if (await source.steering.disconnect(id)) return jsonResponse({ disconnected: true });
      return errorResponse(404, "no-peer", `there is no peer ${id}`, "`postern peers` lists them");
    },
    deny: async ({ body }) => {
      const { serial, reason } = body as z.infer<typeof denyBody>;
      return jsonResponse({ disconnected: await source.steering.denySerial(serial, reason) });
    },
  };
}

async function withStatus(
  source: OpsSource,
  view: (snapshot: NonNullable<Awaited<ReturnType<typeof askStatus>>>) => unknown,
  extent?: StatusExtent,
): Promise<HttpResponse> {
  const snapshot = await askStatus(source, extent, READ_TIMEOUT_MS);
  if (snapshot === null) return errorResponse(503, "no-answer", "the data plane does not answer");
  return jsonResponse(view(snapshot));
}

function limitOf(query: unknown, fallback: number): number {
  const { limit } = query as z.infer<typeof listQuery>;
  return limit === undefined ? fallback : Number(limit);
}
