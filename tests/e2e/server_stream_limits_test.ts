/** Limits on streams: too many opens are refused, too many bytes wait and lose nothing, and other agents feel neither. */
import { assert, assertEquals } from "@std/assert";
import { type Rate, RATE_LIMITS, type RateLimits } from "../../src/core/ratelimit/mod.ts";
import {
  ALPN_V2,
  decodeResult,
  encodeOpen,
  encodeResult,
  OPEN_MAX_BYTES,
  RESULT_MAX_BYTES,
  type ResultCode,
} from "../../src/core/wire/mod.ts";
import type { RawClient } from "./raw_client_fixture.ts";
import { ServerRig } from "./server_rig_fixture.ts";

const LITTLE_BYTES: Rate = { perSecond: 1, burst: 65_536 };
/** So little that no machine is slow enough for one more. */
const LITTLE_OPENS: Rate = { perSecond: 1, burst: 3 };
const LENGTH = 150_000;
/** An accepted RESULT as long as it is here. */
const RESULT_BYTES = result().length;

function limitsWith(bytes: Partial<RateLimits["bytes"]>, opens: Partial<RateLimits["opens"]> = {}): RateLimits {
  return { ...RATE_LIMITS, bytes: { ...RATE_LIMITS.bytes, ...bytes }, opens: { ...RATE_LIMITS.opens, ...opens } };
}

function openHeader(): Uint8Array {
  const bytes = new Uint8Array(OPEN_MAX_BYTES);
  return bytes.subarray(0, encodeOpen(bytes, 0, { service: "web", agent: null }));
}

function result(): Uint8Array {
  const bytes = new Uint8Array(RESULT_MAX_BYTES);
  return bytes.slice(0, encodeResult(bytes, 0, "accepted"));
}

/** An agent and a connector of ztna-v2 with streams between them. */
class StreamRig implements AsyncDisposable {
  readonly rig: ServerRig;
  readonly connector: RawClient;
  readonly #accepted = new Set<number>();

  constructor(rig: ServerRig, connector: RawClient) {
    this.rig = rig;
    this.connector = connector;
  }

  static async start(limits: RateLimits): Promise<StreamRig> {
    const rig = await ServerRig.start({ limits });
    return new StreamRig(rig, await rig.registered("connector", "web", { protocols: [ALPN_V2] }));
  }

  /** An agent from another address than the others, so that it has a source of its own. */
  async agent(bind: string): Promise<RawClient> {
    const client = await this.rig.client(["agent.web.ztna"], { protocols: [ALPN_V2], bind });
    await this.rig.until(() => client.isUp);
    return client;
  }

  /** Opens a stream of the agent that the connector accepts. Returns the connector's stream. */
  async join(agent: RawClient, stream: number): Promise<number> {
    agent.write(stream, openHeader());
    let served = -1;
    await this.rig.until(() => {
      served = Math.max(served, ...this.accept());
      return codeOn(agent, stream) === "accepted";
    });
    return served;
  }

  /** Lets the connector accept what it was asked for since the last time. Returns those streams. */
  accept(): number[] {
    const asked = [...this.connector.streams.keys()].filter((stream) => !this.#accepted.has(stream));
    for (const stream of asked) {
      this.#accepted.add(stream);
      this.connector.write(stream, result());
    }
    return asked;
  }

  /** Sends `length` bytes as the receivers take them; they may be left waiting. */
  pour(from: RawClient, stream: number, length: number): () => void {
    let left = length;
    return () => {
      if (left > 0) left -= Math.max(0, from.write(stream, new Uint8Array(Math.min(left, 16_384))));
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.rig[Symbol.asyncDispose]();
  }
}

Deno.test("bytes of streams: one who sends too much waits and loses nothing, another does not wait", async () => {
  await using streams = await StreamRig.start(limitsWith({ source: LITTLE_BYTES }));
  const { rig, connector } = streams;
  const greedy = await streams.agent("127.0.0.1"), modest = await streams.agent("127.0.0.9");
  const greedyServed = await streams.join(greedy, 0), modestServed = await streams.join(modest, 0);
  const headerBytes = connector.streams.get(greedyServed)?.length ?? 0;
  const arrived = (stream: number) => (connector.streams.get(stream)?.length ?? 0) - headerBytes;
  const pourGreedy = streams.pour(greedy, 0, LENGTH);
  await rig.until(() => {
    pourGreedy();
    return rig.count("limit:bytes-per-source") === 1;
  });
  await rig.until(() => arrived(greedyServed) > LITTLE_BYTES.burst - 1_000);
  const pourModest = streams.pour(modest, 0, 60_000);
  await rig.until(() => {
    pourModest();
    pourGreedy();
    return arrived(modestServed) === 60_000;
  });
  assert(arrived(greedyServed) < LENGTH, `${arrived(greedyServed)} bytes of the greedy one arrived`);
  assertEquals([rig.count("limit:bytes-per-source"), rig.count("droppedOverLimit")], [1, 0], "told once for each wait");
  assertEquals(rig.logs.filter(({ event }) => event === "limit-exceeded").length, 1);
  assertEquals(rig.reload({ limits: RATE_LIMITS }).error, null);
  await rig.until(() => {
    pourGreedy();
    return arrived(greedyServed) === LENGTH;
  });
});

Deno.test("bytes of streams: what comes back from the service counts for the agent that asked for it", async () => {
  await using streams = await StreamRig.start(limitsWith({ connection: LITTLE_BYTES }));
  const { rig, connector } = streams;
  const greedy = await streams.agent("127.0.0.1"), modest = await streams.agent("127.0.0.1");
  const greedyServed = await streams.join(greedy, 0), modestServed = await streams.join(modest, 0);
  const pourGreedy = streams.pour(connector, greedyServed, LENGTH), pourModest = streams.pour(connector, modestServed, 60_000);
  const arrived = (client: RawClient) => (client.streams.get(0)?.length ?? 0) - RESULT_BYTES;
  await rig.until(() => {
    pourGreedy();
    return rig.count("limit:bytes-per-connection") > 0;
  });
  await rig.until(() => {
    pourModest();
    return arrived(modest) === 60_000;
  });
  assert(arrived(greedy) < LENGTH);
  // A stream that waits still ends when its agent wants nothing more.
  greedy.close();
  await rig.until(() => rig.count("activeStreams") === 1);
});

Deno.test("streams under one limit have their turns", async () => {
  await using streams = await StreamRig.start(limitsWith({ connection: { perSecond: 200_000, burst: 65_536 } }));
  const { rig, connector } = streams;
  const agent = await streams.agent("127.0.0.1");
  const served = [await streams.join(agent, 0), await streams.join(agent, 4), await streams.join(agent, 8)];
  const pours = [0, 4, 8].map((stream) => streams.pour(agent, stream, LENGTH));
  const arrived = () => served.map((stream) => connector.streams.get(stream)?.length ?? 0);
  await rig.until(() => {
    for (const pour of pours) pour();
    return arrived().some((length) => length >= LENGTH);
  }, 60_000);
  assert(arrived().every((length) => length > LENGTH / 10), `${arrived()} bytes of the three arrived`);
});

Deno.test("opens: one who asks too often is told busy, another is served", async () => {
  await using streams = await StreamRig.start(limitsWith({}, { connection: LITTLE_OPENS }));
  const { rig } = streams;
  const greedy = await streams.agent("127.0.0.1"), modest = await streams.agent("127.0.0.1");
  for (let n = 0; n < 3; n++) await streams.join(greedy, 4 * n);
  const asked = [12, 16, 20, 24];
  for (const stream of asked) greedy.write(stream, openHeader());
  await rig.until(() => asked.some((stream) => codeOn(greedy, stream) === "busy"));
  await rig.untilCount("limit:opens-per-connection", 1);
  await streams.join(modest, 0);
});

function codeOn(client: RawClient, stream: number): ResultCode | null {
  const bytes = Uint8Array.from(client.streams.get(stream) ?? []);
  const decoded = decodeResult(bytes, 0, bytes.length);
  return decoded.kind === "result" ? decoded.code : null;
}
