/**
 * What takes half a minute to see: ends that vanish without a word, and connections on which nothing moves. Everything is started at
 * once and waits at the same time; each row then looks at its part.
 */
import { assert, assertEquals } from "@std/assert";
import { Gateway, type Pair } from "./gateway_fixture.ts";
import { Backend, readExactly, readToEnd, sleep, writeAll } from "./tcp_fixture.ts";

/** A connection without any packet is dead after this long (WIRE 2.6); what lives must outlive it. */
const IDLE_MS = 30_000;
/** The first packet that is sent into the silence, at the latest the next PING, starts that time once more (RFC 9000 §10.1). */
const NOTICE_MS = IDLE_MS + 10_000 + 50_000;

const text = (words: string) => new TextEncoder().encode(words);

/** One gateway of its own for each end that vanishes, and one on which nothing happens. */
class Scene implements AsyncDisposable {
  readonly backend = new Backend();
  readonly #stack = new AsyncDisposableStack();
  #gateway: Gateway | null = null;
  #pair: Pair | null = null;

  static async start(): Promise<Scene> {
    const scene = new Scene();
    scene.#stack.use(scene.backend);
    scene.#gateway = scene.#stack.use(await Gateway.start({ services: { web: scene.backend.port }, logLevel: "debug" }));
    scene.#pair = scene.#stack.use(await scene.gateway.pair("web", scene.backend));
    return scene;
  }

  get gateway(): Gateway {
    if (this.#gateway === null) throw new Error("not started");
    return this.#gateway;
  }

  get pair(): Pair {
    if (this.#pair === null) throw new Error("not started");
    return this.#pair;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

const scenes = new Map<string, Scene>();
const outcomes = new Map<string, Promise<void>>();

/** The rows: what is done in each scene, all at the same time. */
const ROWS: Readonly<Record<string, (scene: Scene) => Promise<void>>> = {
  "an idle tunnel and an idle connection in it outlive the idle time": async ({ gateway, pair: { client, backend } }) => {
    await sleep(IDLE_MS + 3_000);
    await writeAll(client, text("still here"));
    assertEquals(await readExactly(backend, 10), text("still here"));
    await writeAll(backend, text("so am I"));
    assertEquals(await readExactly(client, 7), text("so am I"));
    for (const role of [gateway.agent, gateway.connector]) assertEquals(role.linesOf("uplink-lost"), []);
  },

  "a connector that vanishes: the client is reset, the service has no connector": async ({ gateway, pair: { client } }) => {
    const started = performance.now();
    gateway.connector.signal("SIGKILL");
    assertEquals((await readToEnd(client, NOTICE_MS)).end, "reset");
    assert(performance.now() - started > 5_000, "a silence of seconds is no loss");
    assertEquals(await gateway.refusal("web"), "reset");
    await gateway.agent.until("stream-refused", { code: "no-connector" });
  },

  "an agent that vanishes: the backend is reset": async ({ gateway, pair: { backend } }) => {
    gateway.agent.signal("SIGKILL");
    assertEquals((await readToEnd(backend, NOTICE_MS)).end, "reset");
  },

  "a server that vanishes and is back: agent and connector notice, dial again, and traffic flows": async (scene) => {
    const { gateway, pair: { client, backend } } = scene;
    const from = [gateway.agent, gateway.connector].map((role) => role.lines.length);
    await gateway.server.stop("SIGKILL");
    await gateway.startServer();
    const ends = await Promise.all([client, backend].map((end) => readToEnd(end, NOTICE_MS)));
    assertEquals(ends.map(({ end }) => end), ["reset", "reset"]);
    await gateway.agent.until("uplink-connected", {}, { from: from[0] ?? 0 });
    await gateway.connector.until("registered", { service: "web" }, { from: from[1] ?? 0 });
    using again = await gateway.pair("web", scene.backend);
    await writeAll(again.client, text("back"));
    assertEquals(await readExactly(again.backend, 4), text("back"));
  },
};

Deno.test.beforeAll(async () => {
  for (const behaviour of Object.keys(ROWS)) scenes.set(behaviour, await Scene.start());
  for (const [behaviour, play] of Object.entries(ROWS)) {
    const scene = scenes.get(behaviour);
    if (scene === undefined) continue;
    const outcome = play(scene);
    // Told to its row; until then nobody waits.
    outcome.catch(() => {});
    outcomes.set(behaviour, outcome);
  }
});

Deno.test.afterAll(async () => {
  await Promise.all([...scenes.values()].map((scene) => scene[Symbol.asyncDispose]()));
});

for (const behaviour of Object.keys(ROWS)) {
  Deno.test({ name: behaviour, sanitizeOps: false, sanitizeResources: false, fn: async () => await outcomes.get(behaviour) });
}
