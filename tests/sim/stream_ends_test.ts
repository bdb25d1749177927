import { assertEquals } from "@std/assert";
import { LeavingStreams, readRest } from "../../src/core/quic/mod.ts";
import { ArenaLayout } from "../../src/io/mod.ts";
import { EnginePair, PAIR_ARENA_BYTES } from "./engine_pair_fixture.ts";
import { MEMORY_ENGINE_BYTES, MemoryEngine } from "./memory_engine_fixture.ts";
import { SimRandom } from "./sim_random_fixture.ts";
import { simMaterial } from "./tunnel_plans_fixture.ts";

const SCRATCH_BYTES = 4_000;

interface Fixture extends Disposable {
  readonly pair: EnginePair;
  readonly scratchAt: number;
}

/** Two connected ends over packets that the test moves. */
function connected(): Fixture {
  const bytes = new Uint8Array(PAIR_ARENA_BYTES);
  const arena = { bytes, view: new DataView(bytes.buffer), address: 4096n };
  const layout = new ArenaLayout(arena);
  const scratch = layout.reserve(MEMORY_ENGINE_BYTES);
  let nowMs = 0;
  const engine = new MemoryEngine({ arena, scratch, random: new SimRandom(1), clock: () => nowMs, wallClock: () => 1 });
  const pair = new EnginePair({ engine, layout, elapse: (ms) => void (nowMs += ms) }, {
    client: simMaterial("client", ["agent.web.ztna"]),
    server: simMaterial("server", ["server.test"]),
    expected: "server.test",
    verifyClient: "require",
    protocols: { client: ["ztna-v2"], server: ["ztna-v2"] },
    transport: {},
  });
  pair.run();
  return { pair, scratchAt: layout.reserve(SCRATCH_BYTES), [Symbol.dispose]: () => pair[Symbol.dispose]() };
}

Deno.test("a stream is leaving until both its bytes and its end have arrived", () => {
  using fixture = connected();
  const { pair } = fixture;
  const leaving = new LeavingStreams(pair.server);
  pair.send("client", 0, "question", true);
  pair.run();
  assertEquals(pair.read("server", 0), { text: "question", fin: true });

  pair.drops = (from) => from === "server";
  pair.send("server", 0, "answer", true);
  leaving.add(0);
  assertEquals(leaving.isAny, true);
  while (pair.move("server"));
  assertEquals(leaving.isAny, true);

  pair.drops = () => false;
  pair.wait(2_000);
  assertEquals(pair.read("client", 0), { text: "answer", fin: true });
  pair.run();
  assertEquals(leaving.isAny, false);
});

Deno.test("what a peer has said to the end before it closed is whole; what it has not is cut", () => {
  using fixture = connected();
  const { pair, scratchAt } = fixture;
  const words = "said to the end ".repeat(500);
  assertEquals(pair.send("client", 0, words, true), words.length);
  pair.send("client", 4, "said in part");
  pair.send("client", 8, "", true);
  pair.run();
  pair.client.close(true, 0, "shutting down");
  pair.run();
  const rest = (stream: number) => {
    const bytes = readRest(pair.engine, pair.server, stream, scratchAt, SCRATCH_BYTES);
    return bytes === null ? null : new TextDecoder().decode(bytes);
  };
  assertEquals([rest(0), rest(4), rest(8)], [words, null, ""]);
});
