/** The admin socket while it runs: the first place that can be had, the connections, the end. */
import { type LimitStatus, type LogSink, messageOf, PosternError } from "../../base/mod.ts";
import {
  DEFAULT_HTTP_LIMITS,
  type HttpHandler,
  type PeerCredentials,
  type Poller,
  serveHttp,
  UnixListener,
} from "../../io/http/mod.ts";
import type { OpsMetrics } from "../metrics/mod.ts";

export interface AdminServerOptions {
  /** Places to try, best first. */
  readonly paths: readonly string[];
  /** The place was asked for by name: when it cannot be had, the process does not start. */
  readonly isExplicit: boolean;
  /** Other users or groups may connect as well. */
  readonly isShared: boolean;
  readonly poller: Poller;
  readonly handlerFor: (caller: PeerCredentials) => HttpHandler;
  readonly log: LogSink;
  readonly counters: OpsMetrics;
}

export interface AdminServer {
  readonly path: string;
  /** The socket's bound and how far it is used. */
  readonly limits: () => LimitStatus[];
  close(): Promise<void>;
}

const CONNECTIONS_MAX = 64;

/**
 * Binds the first place that can be written. Null, with a warning, when none of the default places can or another process serves one.
 * Throws when the place was asked for and cannot be had.
 */
export function startAdminServer(options: AdminServerOptions): AdminServer | null {
  const listener = open(options);
  if (listener === null) return null;
  const { log, counters } = options;
  const count = (cell: number, by: number) => counters.cells[cell] = (counters.cells[cell] ?? 0) + by;
  const onFailure = (error: unknown) =>
    log({ level: "error", event: "request-failed", message: `An admin request failed: ${messageOf(error)}`, fields: {} });
  const running = new Set<Promise<void>>();
  listener.serve(
    CONNECTIONS_MAX,
    async ({ stream, credentials }) => {
      count(counters.index.openAdmin, 1);
      const served = serveHttp(stream, options.handlerFor(credentials), onFailure, DEFAULT_HTTP_LIMITS).then(() => {});
      running.add(served);
      await served;
      running.delete(served);
      count(counters.index.openAdmin, -1);
    },
    () =>
      log({
        level: "warn",
        event: "admin-denied",
        message: "An admin connection was dropped: too many, or a caller unknown to the kernel",
        fields: {},
      }),
  );
  log({ level: "info", event: "admin-listening", message: `Admin API on ${listener.path}`, fields: { path: listener.path } });
  return {
    path: listener.path,
    limits: () => [{ name: "admin_connections", used: running.size, max: CONNECTIONS_MAX }],
    close: () => listener.close(),
  };
}

function open({ paths, isExplicit, isShared, poller, log }: AdminServerOptions): UnixListener | null {
  const problems: string[] = [];
  for (const path of paths) {
    try {
      return UnixListener.open(poller, { path, isShared });
    } catch (error) {
      if (isExplicit || !(error instanceof PosternError)) throw error;
      problems.push(error.message);
      // Another process of this role has the place: a second socket elsewhere would only hide one of the two.
      if (error.code === "socket-live") break;
    }
  }
  log({ level: "warn", event: "admin-off", message: `No admin API: ${problems.join("; ")}`, fields: {} });
  return null;
}
