/** The OpenAPI 3.1 document of the admin API, made of the routes, so that it cannot say anything else than they do. */
import * as z from "zod";
import { WATCH_PATHS } from "../watch/mod.ts";
import { type Route, ROUTES } from "./routes.ts";
import { errorSchema } from "./schemas.ts";

const TOKEN_SCHEME = "processToken";

/** Plain JSON. `version` is that of the program. */
export function openApiDocument(version: string): Record<string, unknown> {
  const paths: Record<string, Record<string, unknown>> = {};
  const schemas: Record<string, unknown> = {};
  for (const route of Object.values<Route>(ROUTES)) {
    const path = paths[route.path] ?? {};
    path[route.method.toLowerCase()] = operation(route);
    paths[route.path] = path;
  }
  for (const path of WATCH_PATHS) paths[path] = { get: watchOperation(path) };
  const hoisted = hoist({ paths, error: jsonSchema(errorSchema) }, schemas);
  return {
    openapi: "3.1.0",
    info: {
      title: "Postern admin API",
      version,
      description: DESCRIPTION,
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    servers: [{ url: "/" }],
    paths: (hoisted as { paths: unknown }).paths,
    components: {
      schemas,
      securitySchemes: { [TOKEN_SCHEME]: { type: "apiKey", in: "header", name: "Authorization" } },
    },
  };
}

const DESCRIPTION =
  "HTTP/1.1 on a Unix socket of this machine. The kernel's peer credentials decide who may call. What steers also needs a " +
  "token in the Authorization header field (the whole value, no scheme): POST /v1/tokens gives one, bound to a process.";

/** Moves named schemas, which zod puts beside each use, to where OpenAPI keeps them. */
function hoist(value: unknown, schemas: Record<string, unknown>): unknown {
  if (Array.isArray(value)) return value.map((item) => hoist(item, schemas));
  if (typeof value !== "object" || value === null) return value;
  const moved: Record<string, unknown> = {};
  for (const [key, inner] of Object.entries(value)) {
    if (key === "$defs") {
      for (const [name, schema] of Object.entries(inner)) schemas[name] = hoist(withoutId(schema), schemas);
    } else if (key === "$ref") moved[key] = String(inner).replace("#/$defs/", "#/components/schemas/");
    else moved[key] = hoist(inner, schemas);
  }
  return moved;
}

function withoutId(schema: unknown): unknown {
  const { id: _, ...plain } = schema as Record<string, unknown>;
  return plain;
}

function operation(route: Route): Record<string, unknown> {
  const mediaType = "mediaType" in route.answer ? route.answer.mediaType : "application/json";
  const schema = "mediaType" in route.answer ? { type: "string" } : jsonSchema(route.answer);
  return {
    operationId: route.name,
    summary: route.summary,
    parameters: [...queryParameters(route.query), ...(route.id === null ? [] : [idParameter(route.id)])],
    ...(route.body === null
      ? {}
      : { requestBody: { required: true, content: { "application/json": { schema: jsonSchema(route.body) } } } }),
    responses: {
      "200": { description: "Done.", content: { [mediaType]: { schema } } },
      ...errors(route),
    },
    ...(route.isSteering ? { security: [{ [TOKEN_SCHEME]: [] }] } : {}),
  };
}

function errors(route: Route): Record<string, unknown> {
  const answer = (description: string) => ({
    description,
    content: { "application/json": { schema: { $ref: "#/components/schemas/Error" } } },
  });
  return {
    "400": answer("The request is not well formed or a value in it is wrong."),
    "403": answer("The caller may not do this."),
    ...(route.id === null ? {} : { "404": answer("There is no such thing.") }),
    ...(route.body === null ? {} : { "413": answer("The body is too large."), "415": answer("The body is not JSON.") }),
    ...(route.isSteering ? { "409": answer("It cannot be done now.") } : {}),
    "503": answer("The data plane does not answer."),
  };
}

function watchOperation(path: string): Record<string, unknown> {
  const isText = !path.startsWith("/health/");
  const content = { [isText ? "text/plain" : "application/json"]: { schema: isText ? { type: "string" } : { type: "object" } } };
  const other = path === "/metrics" ? { "application/openmetrics-text": { schema: { type: "string" } } } : {};
  return {
    operationId: `watch${path.replaceAll("/", "_")}`,
    summary: `As on the metrics listener: ${path}`,
    responses: {
      "200": { description: "Good.", content: { ...content, ...other } },
      "400": {
        description: "The request is not well formed.",
        content: { "application/json": { schema: { $ref: "#/components/schemas/Error" } } },
      },
      "503": { description: "Not good.", content },
    },
  };
}

function queryParameters(query: z.ZodType): Record<string, unknown>[] {
  const schema = jsonSchema(query) as { properties?: Record<string, unknown>; required?: string[] };
  return Object.entries(schema.properties ?? {}).map(([name, property]) => ({
    name,
    in: "query",
    required: schema.required?.includes(name) ?? false,
    schema: property,
  }));
}

function idParameter(id: z.ZodType): Record<string, unknown> {
  return { name: "id", in: "path", required: true, schema: jsonSchema(id) };
}

function jsonSchema(schema: z.ZodType): Record<string, unknown> {
  const { $schema: _, ...plain } = z.toJSONSchema(schema, { io: "input" }) as Record<string, unknown>;
  return plain;
}
