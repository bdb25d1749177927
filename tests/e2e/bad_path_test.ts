/**
 * Paths that lose, double and reorder, NATs that give another address every two seconds, ten seconds of darkness amid a transfer: on the
 * agent's way to the server and on the connector's. Every byte arrives all the same; of datagrams some may be lost, and none is made
 * up. Everything is started at once and waits at the same time; `deno task soak paths` plays more of it.
 */
import { assert, assertEquals } from "@std/assert";
import { BadPathGateway } from "./bad_path_fixture.ts";
import type { PathCounts, PathTrouble } from "./lossy_path_fixture.ts";
import { sleep } from "./tcp_fixture.ts";

const MIB = 1024 * 1024;
const DATAGRAMS = 200;

interface Row {
  readonly trouble: PathTrouble;
  /** Each way, by a forward; a quarter of it by the proxy beside it. */
  readonly bytes: number;
  /** Answered of those that are asked while the transfers run, at least. */
  readonly datagramsMin: number;
}

const ROWS: Readonly<Record<string, Row>> = {
  "that loses, doubles and reorders": {
    trouble: { loss: 0.02, duplicate: 0.02, reorder: 0.02, seed: 7 },
    bytes: 2 * MIB,
    datagramsMin: DATAGRAMS / 2,
  },
  "that loses a tenth of what the server says": {
    trouble: { lossDown: 0.1, lossUp: 0.01, seed: 8 },
    bytes: MIB,
    datagramsMin: DATAGRAMS / 4,
  },
  // The pace makes the transfer last, so that it meets several addresses.
  "with another address every two seconds": {
    trouble: { rebindEveryMs: 2_000, bytesPerSecond: MIB, seed: 9 },
    bytes: 6 * MIB,
    datagramsMin: 1,
  },
  "that is dark for ten seconds": {
    trouble: { dark: { afterBytes: MIB, forMs: 10_000, times: 1 }, seed: 10 },
    bytes: 4 * MIB,
    datagramsMin: 0,
  },
};

async function play(leg: "agent" | "connector", { trouble, bytes, datagramsMin }: Row): Promise<void> {
  await using gateway = await BadPathGateway.start({ [leg]: trouble });
  const [forward, socks, answered] = await Promise.all([
    gateway.transfer(bytes, 1),
    gateway.transfer(bytes / 4, 2, "socks"),
    gateway.datagrams(DATAGRAMS),
  ]);
  const said = JSON.stringify([gateway.counts, answered]);
  assertEquals([forward, socks], ["intact", "intact"], said);
  assert(answered >= datagramsMin && answered <= DATAGRAMS, said);
  for (const role of [gateway.agent, gateway.connector]) {
    assertEquals(role.linesOf("uplink-lost"), [], "one connection bears it all");
  }
  await untilMet(gateway, trouble);
}

/** Waits until the path has said that the trouble was there. */
async function untilMet(gateway: BadPathGateway, { rebindEveryMs, dark }: PathTrouble): Promise<void> {
  const isMet = ({ lost, rebinds, darkened }: PathCounts) =>
    rebindEveryMs !== undefined ? rebinds > 1 : dark !== undefined ? darkened === 1 : lost > 0;
  for (let tries = 0; !isMet(gateway.counts); tries++) {
    assert(tries < 100, `the path was a good one: ${JSON.stringify(gateway.counts)}`);
    await sleep(200);
  }
}

const outcomes = new Map<string, Promise<void>>();

Deno.test.beforeAll(() => {
  for (const [path, row] of Object.entries(ROWS)) {
    for (const leg of ["agent", "connector"] as const) {
      const outcome = play(leg, row);
      // Told to its row; until then nobody waits.
      outcome.catch(() => {});
      outcomes.set(`${leg} ${path}`, outcome);
    }
  }
});

for (const leg of ["agent", "connector"] as const) {
  for (const path of Object.keys(ROWS)) {
    const name = `the ${leg} on a path ${path}: transfers by forward and proxy arrive whole, datagrams arrive or are lost`;
    const fn = async () => await outcomes.get(`${leg} ${path}`);
    Deno.test({ name, sanitizeOps: false, sanitizeResources: false, fn });
  }
}
