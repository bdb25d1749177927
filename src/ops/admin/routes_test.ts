import { assert, assertEquals } from "@std/assert";
import { openApiDocument } from "./mod.ts";
import { matchRoute, ROUTES } from "./routes.ts";
import { logLevelBody } from "./schemas.ts";

Deno.test("a path and a method find their route, and a wrong method names the right ones", () => {
  const name = (method: string, path: string) => {
    const match = matchRoute(method, path);
    return "allowed" in match ? match.allowed.join() : `${match.name} ${match.id}`;
  };
  assertEquals(name("GET", "/v1/status"), "status null");
  assertEquals(name("HEAD", "/v1/status"), "status null");
  assertEquals(name("DELETE", "/v1/peers/p-1"), "disconnect p-1");
  assertEquals(name("GET", "/v1/events/stream"), "followEvents null");
  assertEquals(name("POST", "/v1/status"), "GET,HEAD");
  assertEquals(name("DELETE", "/v1/log-level"), "GET,HEAD,PUT");
  for (const path of ["/", "/v1", "/v1/peers/", "/v1/peers/a/b", "/v1/status/", "//v1/status", "/v1/../v1/status", "/V1/status"]) {
    assertEquals(name("GET", path), "", path);
  }
});

Deno.test("the document names every route, and every reference in it leads somewhere", () => {
  const document = openApiDocument("1.2.3");
  const text = JSON.stringify(document);
  for (const route of Object.values(ROUTES)) assert(text.includes(`"${route.path}"`), route.path);
  const schemas = (document["components"] as { schemas: Record<string, unknown> }).schemas;
  const references = [...text.matchAll(/"\$ref":"([^"]+)"/g)].map((match) => match[1] ?? "");
  assert(references.length > 20);
  for (const reference of references) assert(schemas[reference.replace("#/components/schemas/", "")] !== undefined, reference);
  assert(!text.includes("$defs"));
});

Deno.test("everything that steers needs a token in the document as well", () => {
  const paths = openApiDocument("1")["paths"] as Record<string, Record<string, { security?: unknown }>>;
  for (const route of Object.values(ROUTES)) {
    assertEquals(paths[route.path]?.[route.method.toLowerCase()]?.security !== undefined, route.isSteering, route.name);
  }
});

Deno.test("a log level is a level or a filter", () => {
  for (const level of ["info", "off", "debug,uplink=trace", "warn,a_b=off,c=info"]) {
    assert(logLevelBody.safeParse({ level }).success, level);
  }
  for (const level of ["", "loud", "info,", "info,uplink", "info\n", "info,uplink=loud", "INFO"]) {
    assert(!logLevelBody.safeParse({ level }).success, level);
  }
});
