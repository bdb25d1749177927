/** What the agent knows of the way to one service's connector, and how it says so. */
import { Backoff, type SocketAddress } from "../../base/mod.ts";
import type { Identity } from "../../core/auth/mod.ts";
import type { Connection } from "../../core/quic/mod.ts";
import type { PathHealth } from "../../core/signal/mod.ts";
import { DIRECT_BACKOFF } from "./limits.ts";

export interface Route {
  readonly service: string;
  readonly backoff: Backoff;
  /** `detour`: there is a connection, what runs on it goes by the server, and what is new beside it. */
  state: "relay" | "asking" | "dialling" | "up" | "detour";
  /** In a detour: the other side is asked where it is. */
  isAskedAgain: boolean;
  connection: Connection | null;
  /** Of the connector, by its certificate. */
  identity: Identity | null;
  address: string;
  /** The same; null before it was found. */
  place: SocketAddress | null;
  health: PathHealth | null;
  /** A dial has come to its connector's first word by then. */
  dialEndsMs: number;
  retryAtMs: number;
  /** In a detour: when it is looked at next. */
  lookMs: number;
  usedMs: number;
}

export function newRoute(service: string, nowMs: number): Route {
  return {
    service,
    backoff: new Backoff(DIRECT_BACKOFF),
    state: "relay",
    isAskedAgain: false,
    connection: null,
    identity: null,
    address: "",
    place: null,
    health: null,
    dialEndsMs: 0,
    retryAtMs: 0,
    lookMs: 0,
    usedMs: nowMs,
  };
}

/** How the service's next stream goes, for people. */
export function describeRoute(route: Route | undefined): string {
  if (route === undefined || route.connection === null || route.state === "dialling") return "relay";
  const rtt = `${route.connection.engine.stats().rttMs.toFixed(1)} ms`;
  if (route.state === "up" && route.health?.state === "good") return `direct ${route.address}, ${rtt}`;
  const rest = route.state === "detour" ? ": what ran directly goes by the server too" : "";
  return `relay (${route.address} does not answer${rest})`;
}

export const ROUTE_MESSAGES = {
  "direct-opened": "A direct path to the connector is up",
  "direct-closed": "A direct path ended: the service goes by the server",
  "direct-failed": "There is no direct path: the service goes by the server",
  "direct-doubtful": "A direct path does not answer: what is new goes by the server",
  "direct-detour": "A direct path is lost: what runs on it goes by the server",
  "direct-back": "A direct path answers again",
} as const;
