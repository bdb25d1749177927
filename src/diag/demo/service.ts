/**
 * The services that the demonstration reaches through the tunnel, in a process of their own: `web`, a page over HTTP, and
 * `data`, which speaks raw TCP. A connection to `data` begins with one line:
 *
 *   echo               every byte comes back
 *   digest             reads to the end of what is sent, and only then answers `COUNT SHA256`
 *   source SEED SIZE   sends that {@linkcode Pattern} and ends
 */
import { messageOf } from "../../base/mod.ts";
import { PAGE } from "./page.ts";
import { Pattern } from "./pattern.ts";
import { digestToEnd, writeAll } from "./stream.ts";

/** The services that the demonstration offers. */
export const DEMO_SERVICES = ["web", "data"] as const;
export type DemoService = typeof DEMO_SERVICES[number];

const REQUEST_BYTES_MAX = 64;
const ECHO_BYTES = 64 * 1024;
const SOURCE_BYTES_MAX = 64 * 1024 ** 3;

const decoder = new TextDecoder(), encoder = new TextEncoder();

/** Serves until SIGTERM or SIGINT. Says where in one JSON line on standard error, in the form of a role's log. */
export async function runDemoServices(): Promise<void> {
  const ended = new AbortController();
  for (const signal of ["SIGTERM", "SIGINT"] as const) Deno.addSignalListener(signal, () => ended.abort());
  const listen = { hostname: "127.0.0.1", port: 0 };
  const web = Deno.serve({ ...listen, signal: ended.signal, onListen: () => {} }, page);
  const data = Deno.listen(listen);
  ended.signal.addEventListener("abort", () => data.close());
  say("ready", "The services stand", { listen_0: address(web.addr), listen_1: address(data.addr) });
  try {
    for await (const connection of data) void serve(connection);
  } catch (error) {
    if (!ended.signal.aborted) throw error;
  }
  await web.finished;
}

function page(request: Request): Response {
  if (new URL(request.url).pathname !== "/") return new Response("not found\n", { status: 404 });
  return new Response(PAGE, { headers: { "content-type": "text/html; charset=utf-8" } });
}

async function serve(connection: Deno.TcpConn): Promise<void> {
  try {
    const asked = await readRequest(connection);
    if (asked === null) return;
    const { request, rest } = asked;
    const [word, seed, size] = request.split(" ");
    if (word === "echo") await echo(connection, rest);
    else if (word === "digest") {
      const { bytes, sha256 } = await digestToEnd(connection, rest);
      await writeAll(connection, encoder.encode(`${bytes} ${sha256}\n`));
    } else if (word === "source" && Number(size) <= SOURCE_BYTES_MAX) {
      for (const piece of new Pattern(Number(seed), Number(size)).pieces()) await writeAll(connection, piece);
    } else throw new Error(`unknown request ${JSON.stringify(request)}`);
  } catch (error) {
    say("request-failed", messageOf(error));
  } finally {
    connection.close();
  }
}

/** The first line, and what came behind it; null when nothing was said, as by who only looks whether somebody is there. */
async function readRequest(
  connection: Deno.TcpConn,
): Promise<{ readonly request: string; readonly rest: Uint8Array } | null> {
  const bytes = new Uint8Array(REQUEST_BYTES_MAX);
  for (let length = 0; length < bytes.length;) {
    const count = await connection.read(bytes.subarray(length));
    if (count === null && length === 0) return null;
    if (count === null) break;
    length += count;
    const end = bytes.subarray(0, length).indexOf(0x0a);
    if (end >= 0) return { request: decoder.decode(bytes.subarray(0, end)), rest: bytes.slice(end + 1, length) };
  }
  throw new Error("no request");
}

async function echo(connection: Deno.TcpConn, first: Uint8Array): Promise<void> {
  await writeAll(connection, first);
  const buffer = new Uint8Array(ECHO_BYTES);
  for (let count; (count = await connection.read(buffer)) !== null;) await writeAll(connection, buffer.subarray(0, count));
}

function address(bound: Deno.Addr): string {
  return bound.transport === "tcp" ? `tcp:${bound.hostname}:${bound.port}` : "";
}

function say(event: string, message: string, fields: Readonly<Record<string, string>> = {}): void {
  const level = event === "ready" ? "info" : "warn";
  const line = { level, time: new Date().toISOString(), role: "services", event, ...fields, msg: message };
  Deno.stderr.writeSync(encoder.encode(JSON.stringify(line) + "\n"));
}
