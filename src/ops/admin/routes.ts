/** Every route of the admin API: what it takes, what it answers, and who may ask. The table is the API; nothing is routed beside it. */
import * as z from "zod";
import {
  callerSchema,
  certificatesSchema,
  denyBody,
  drainBody,
  eventQuery,
  eventSchema,
  flowSchema,
  limitSchema,
  listQuery,
  logLevelBody,
  noQuery,
  peerId,
  peerSchema,
  serviceSchema,
  settingSchema,
  statisticsSchema,
  statusSchema,
  tokenBody,
} from "./schemas.ts";

export interface Route {
  readonly name: string;
  readonly method: "GET" | "POST" | "PUT" | "DELETE";
  /** At most one `{id}`. */
  readonly path: string;
  readonly summary: string;
  /** Needs a process token and is logged with the caller. */
  readonly isSteering: boolean;
  readonly query: z.ZodType;
  readonly body: z.ZodType | null;
  readonly id: z.ZodType | null;
  /** JSON of the 200 answer, or another media type. */
  readonly answer: z.ZodType | { readonly mediaType: string };
}

const read = (name: string, path: string, summary: string, answer: Route["answer"], query: z.ZodType = noQuery): Route => ({
  name,
  method: "GET",
  path,
  summary,
  isSteering: false,
  query,
  body: null,
  id: null,
  answer,
});

const steer = (
  name: string,
  method: Route["method"],
  path: string,
  summary: string,
  answer: z.ZodType,
  options: { readonly body?: z.ZodType; readonly id?: z.ZodType } = {},
): Route => ({
  name,
  method,
  path,
  summary,
  isSteering: true,
  query: noQuery,
  body: options.body ?? null,
  id: options.id ?? null,
  answer,
});

export const ROUTES = {
  openapi: read("openapi", "/openapi.json", "This document", z.looseObject({ openapi: z.string() })),
  caller: read("caller", "/v1/caller", "Whom the kernel says that you are", callerSchema),
  status: read("status", "/v1/status", "Everything about this process on one page", statusSchema),
  peers: read(
    "peers",
    "/v1/peers",
    "Live connections",
    z.strictObject({ peers: z.array(peerSchema), total: z.number() }),
    listQuery,
  ),
  services: read("services", "/v1/services", "Services and who serves them", z.strictObject({ services: z.array(serviceSchema) })),
  flows: read(
    "flows",
    "/v1/flows",
    "Flows of the relay",
    z.strictObject({ flows: z.array(flowSchema), total: z.number() }),
    listQuery,
  ),
  limits: read("limits", "/v1/limits", "Bounds and how far they are used", z.strictObject({ limits: z.array(limitSchema) })),
  events: read(
    "events",
    "/v1/events",
    "Security events, newest first, and their statistics",
    z.strictObject({ events: z.array(eventSchema), statistics: statisticsSchema }),
    eventQuery,
  ),
  followEvents: read(
    "followEvents",
    "/v1/events/stream",
    "Security events as they happen: one JSON object a line, an empty line every 15 seconds",
    { mediaType: "application/x-ndjson" },
  ),
  certificates: read("certificates", "/v1/certificates", "Certificates in use and their state", certificatesSchema),
  configuration: read(
    "configuration",
    "/v1/config",
    "Effective settings and where each came from",
    z.strictObject({ settings: z.array(settingSchema) }),
  ),
  logLevel: read("logLevel", "/v1/log-level", "The log filter in force", z.strictObject({ level: z.string() })),
  token: {
    ...read("token", "/v1/tokens", "A token for steering, bound to a process", z.strictObject({ token: z.string() })),
    method: "POST",
    body: tokenBody,
  },
  reload: steer(
    "reload",
    "POST",
    "/v1/reload",
    "Read configuration and certificates anew, reopen the log",
    z.strictObject({ changes: z.array(z.string()) }),
  ),
  setLogLevel: steer(
    "setLogLevel",
    "PUT",
    "/v1/log-level",
    "Change the log filter",
    z.strictObject({ level: z.string(), warnings: z.array(z.string()) }),
    { body: logLevelBody },
  ),
  drain: steer(
    "drain",
    "POST",
    "/v1/drain",
    "Take nothing new, let go on what runs, then end",
    z.strictObject({ draining: z.boolean() }),
    {
      body: drainBody,
    },
  ),
  disconnect: steer(
    "disconnect",
    "DELETE",
    "/v1/peers/{id}",
    "End a peer's connection",
    z.strictObject({ disconnected: z.boolean() }),
    {
      id: peerId,
    },
  ),
  deny: steer(
    "deny",
    "POST",
    "/v1/denied-serials",
    "Refuse a certificate from now on and end its connections",
    z.strictObject({ disconnected: z.number() }),
    { body: denyBody },
  ),
} as const satisfies Readonly<Record<string, Route>>;

export type RouteName = keyof typeof ROUTES;

export interface RouteMatch {
  readonly name: RouteName;
  readonly route: Route;
  readonly id: string | null;
}

/** The route of a request; the methods that the path knows when only the method is wrong. */
export function matchRoute(method: string, path: string): RouteMatch | { readonly allowed: readonly string[] } {
  const allowed = new Set<string>();
  for (const name of Object.keys(ROUTES) as RouteName[]) {
    const route: Route = ROUTES[name];
    const id = matchPath(route.path, path);
    if (id === undefined) continue;
    if (route.method === method || (route.method === "GET" && method === "HEAD")) return { name, route, id };
    allowed.add(route.method);
    if (route.method === "GET") allowed.add("HEAD");
  }
  return { allowed: [...allowed] };
}

/** Null: the same path. A text: what stands for `{id}`. Undefined: another path. */
function matchPath(template: string, path: string): string | null | undefined {
  const [before = "", after] = template.split("{id}");
  if (after === undefined) return template === path ? null : undefined;
  const id = path.slice(before.length);
  return path.startsWith(before) && after === "" && id !== "" && !id.includes("/") ? id : undefined;
}
