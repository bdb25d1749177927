/**
 * From a request on the admin socket to its answer: the caller is judged, the route found, the input checked, a token asked for where it
 * steers, and only then is anything done. Every steering call is logged with its caller, whether it worked or not.
 */
import type * as z from "zod";
import { type LogSink, messageOf, PosternError, type SecurityEventInput } from "../../base/mod.ts";
import { errorResponse, type HttpHandler, type HttpRequest, type HttpResponse, type PeerCredentials } from "../../io/http/mod.ts";
import type { OpsMetrics } from "../metrics/mod.ts";
import { WATCH_PATHS } from "../watch/mod.ts";
import { type AdminAccess, mayCall } from "./access.ts";
import type { Answers, Call } from "./answers.ts";
import { matchRoute, type Route, type RouteMatch } from "./routes.ts";
import type { TokenStore } from "./tokens.ts";

export interface AdminApiOptions {
  readonly access: AdminAccess;
  readonly tokens: TokenStore;
  readonly answers: Answers;
  /** The paths of the metrics listener, readable here as well. */
  readonly watch: HttpHandler;
  readonly log: LogSink;
  readonly record: (event: SecurityEventInput) => void;
  readonly counters: OpsMetrics;
}

/** The handler for one caller's connection. */
export function createAdminApi(options: AdminApiOptions): (caller: PeerCredentials) => HttpHandler {
  return (caller) => (request, signal) => answer(options, caller, request, signal);
}

async function answer(
  options: AdminApiOptions,
  caller: PeerCredentials,
  request: HttpRequest,
  signal: AbortSignal,
): Promise<HttpResponse> {
  const { cells, index } = options.counters;
  cells[index.requestsAdmin] = (cells[index.requestsAdmin] ?? 0) + 1;
  if (!mayCall(options.access, caller)) return denied(options, caller, "this user may not use the admin API");
  if (WATCH_PATHS.some((path) => path === request.path)) return await options.watch(request, signal);
  const match = matchRoute(request.method, request.path);
  if ("allowed" in match) return notMatched(match.allowed);
  const input = checkInput(match, request);
  if (!input.ok) return input.response;
  const call: Call = { caller, query: input.query, body: input.body, id: match.id ?? "", signal };
  if (!match.route.isSteering) return await perform(options, match, call);
  const verdict = options.tokens.check(request.headers.get("authorization"), caller);
  if (!verdict.ok) {
    const hint = `${verdict.why}: POST /v1/tokens gives one; \`postern admin-token\` prints one`;
    return denied(options, caller, "invalid Authorization token", "token", hint);
  }
  return await steered(options, match, call);
}

async function steered(options: AdminApiOptions, match: RouteMatch, call: Call): Promise<HttpResponse> {
  const response = await perform(options, match, call);
  const { pid, uid } = call.caller;
  const what = match.name + (call.id === "" ? "" : ` ${call.id}`);
  const { status } = response;
  options.log({
    level: "info",
    event: "admin-steered",
    message: `${what} by uid ${uid}, pid ${pid}: ${status === 200 ? "done" : `refused (${status})`}`,
    fields: { action: match.name, uid, pid, status, ...loggable(call.body) },
  });
  options.record({ event_type: "admin_steered", details: { action: match.name, id: call.id, uid, pid, status } });
  return response;
}

async function perform(options: AdminApiOptions, match: RouteMatch, call: Call): Promise<HttpResponse> {
  try {
    return await options.answers[match.name](call);
  } catch (error) {
    if (error instanceof PosternError) {
      return errorResponse(error.exitCode === 2 ? 400 : 409, error.code, error.message, error.hint);
    }
    options.log({ level: "error", event: "request-failed", message: `${match.name}: ${messageOf(error)}`, fields: {} });
    return errorResponse(503, "unavailable", "it could not be done now; the log has the reason");
  }
}

type Input = { readonly ok: true; readonly query: unknown; readonly body: unknown } | {
  readonly ok: false;
  readonly response: HttpResponse;
};

function checkInput({ route, id }: RouteMatch, request: HttpRequest): Input {
  const query: Record<string, string> = {};
  for (const [name, value] of request.query) {
    if (name in query) return refused("query", `the parameter '${name}' came twice`);
    query[name] = value;
  }
  const checkedQuery = route.query.safeParse(query);
  if (!checkedQuery.success) return refused("query", words(checkedQuery.error));
  if (route.id !== null) {
    const checkedId = route.id.safeParse(id);
    if (!checkedId.success) return refused("id", words(checkedId.error));
  }
  const body = checkBody(route, request);
  return body.ok ? { ok: true, query: checkedQuery.data, body: body.body } : body;
}

function checkBody(route: Route, request: HttpRequest): Input {
  if (route.body === null) {
    if (request.body.length > 0) return refused("body", "this takes no body");
    return { ok: true, query: null, body: null };
  }
  const type = (request.headers.get("content-type") ?? "application/json").split(";")[0]?.trim().toLowerCase();
  if (type !== "application/json") {
    return { ok: false, response: errorResponse(415, "media-type", "the body must be application/json") };
  }
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(request.body));
  } catch {
    return refused("body", "the body is not JSON");
  }
  const checked = route.body.safeParse(json);
  return checked.success ? { ok: true, query: null, body: checked.data } : refused("body", words(checked.error));
}

function words(error: z.ZodError): string {
  const issue = error.issues[0];
  const where = issue?.path.join(".") ?? "";
  return `${where === "" ? "" : `${where}: `}${issue?.message ?? "is wrong"}`;
}

function refused(what: string, why: string): Input {
  return { ok: false, response: errorResponse(400, `bad-${what}`, why, "GET /openapi.json says what is taken") };
}

function notMatched(allowed: readonly string[]): HttpResponse {
  if (allowed.length === 0) return errorResponse(404, "not-found", "there is nothing here", "GET /openapi.json lists everything");
  return errorResponse(405, "method", `only ${allowed.join(", ")} work here`, null, { allow: allowed.join(", ") });
}

function denied(
  options: AdminApiOptions,
  caller: PeerCredentials,
  message: string,
  code = "caller",
  hint: string | null = null,
): HttpResponse {
  const { cells, index } = options.counters;
  cells[index.deniedAdmin] = (cells[index.deniedAdmin] ?? 0) + 1;
  const { pid, uid } = caller;
  options.log({
    level: "warn",
    event: "admin-denied",
    message: `Refused uid ${uid}, pid ${pid}: ${message}`,
    fields: { uid, pid },
  });
  options.record({ event_type: "admin_denied", details: { uid, pid, reason: hint ?? message } });
  return errorResponse(403, code, message, hint);
}

/** The scalars of a checked body: level, serial, reason. */
function loggable(body: unknown): Record<string, string | number | boolean> {
  const fields: Record<string, string | number | boolean> = {};
  for (const [name, value] of Object.entries(body ?? {})) {
    if (typeof value === "string" || typeof value === "number" || typeof value === "boolean") fields[`given_${name}`] = value;
  }
  return fields;
}
