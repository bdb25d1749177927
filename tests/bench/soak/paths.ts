/**
 * Bad paths by chance: each seed puts its own mixture of loss, doubling, reordering, changing addresses and darkness between the server
 * and the agent, the connector, or both. Where no darkness outlasts a connection every byte arrives; where one does, transfers end in
 * a reset whose reason is logged, and everything works again in the light. Nothing hangs.
 */
import { BadPathGateway, type Troubles } from "../../e2e/bad_path_fixture.ts";
import type { PathTrouble } from "../../e2e/lossy_path_fixture.ts";
import { sleep } from "../../e2e/tcp_fixture.ts";
import { randomFrom } from "../../sim/netstack_world_fixture.ts";
import type { Soak, SoakRun } from "./soak.ts";

const SEEDS = 24;
/** Each way, by a forward; a quarter of it by the proxy. */
const BYTES = 8 * 1024 * 1024;
const DATAGRAMS = 500;
const REBIND_MS = 2_000, DARK_MS = 10_000;
/** Longer than a connection lives without an answer (WIRE 2.6), with what was sent last at its beginning. */
const OUTLASTING_MS = 45_000;
/** Every so manieth seed has a darkness like that. */
const OUTLASTING_EVERY = 6;
/** Darkness, and then a few dials. */
const LIGHT_MS = 90_000;
/** Less would be over before anything happens. */
const LEAST_SCALE = 0.5;
const LEGS = ["agent", "connector"] as const;

export const paths: Soak = {
  name: "paths",
  usual: "12 min",
  about: "transfers and datagrams over 24 bad paths made by seeds: whole, or a reset with its reason; nothing hangs",
  run: soakPaths,
};

interface Result {
  readonly isOk: boolean;
  readonly answered: number;
  readonly seconds: number;
  readonly said: string;
}

async function soakPaths(run: SoakRun): Promise<void> {
  const count = Math.ceil(SEEDS * run.scale), first = Number(Deno.env.get("POSTERN_PATHS_FROM") ?? 1);
  let answered = 0, slowest = 0, outlasting = 0;
  for (let seed = first; seed < first + count; seed++) {
    const random = randomFrom(seed);
    const outlasts = seed % OUTLASTING_EVERY === 0;
    const troubles = mixture(seed, random, outlasts);
    run.say(`seed ${seed}: ${JSON.stringify(troubles)}`);
    const result = await play(troubles, outlasts, run.scale);
    answered += result.answered;
    slowest = Math.max(slowest, result.seconds);
    outlasting += outlasts ? 1 : 0;
    run.check(`seed ${seed}: ${outlasts ? "a reset with its reason, and light again" : "every byte"}`, result.isOk, result.said);
  }
  run.figure("paths", count, "");
  run.figure("of these darker than a connection lives", outlasting, "");
  run.figure("slowest", slowest, "s");
  run.figure("datagrams answered", 100 * answered / (count * DATAGRAMS), "%");
}

/** What stands in the way; the same for the same seed. */
function mixture(seed: number, random: () => number, outlasts: boolean): Troubles {
  const upTo = (most: number) => random() < 0.5 ? Number((random() * most).toFixed(3)) : 0;
  const troubles: { agent?: PathTrouble; connector?: PathTrouble } = {};
  // One of them, or both.
  const legs = random() < 1 / 3 ? LEGS : [LEGS[random() < 0.5 ? 0 : 1] ?? "agent"];
  for (const leg of legs) {
    const isDark = outlasts ? leg === legs[0] : random() < 1 / 3;
    troubles[leg] = {
      seed: seed * LEGS.length + LEGS.indexOf(leg),
      ...{ lossUp: upTo(0.05), lossDown: upTo(0.05), duplicate: upTo(0.05), reorder: upTo(0.1) },
      ...(random() < 0.5 ? { rebindEveryMs: REBIND_MS, bytesPerSecond: 2_000_000 } : {}),
      ...(isDark ? { dark: { afterBytes: BYTES / 4, forMs: outlasts ? OUTLASTING_MS : DARK_MS, times: 1 } } : {}),
    };
  }
  return troubles;
}

async function play(troubles: Troubles, outlasts: boolean, scale: number): Promise<Result> {
  await using gateway = await BadPathGateway.start(troubles);
  const begin = performance.now();
  const bytes = outlasts ? BYTES : Math.ceil(BYTES * Math.max(scale, LEAST_SCALE));
  // Whoever asks on a path without light for long hears nothing: that is no hanging.
  const asking = gateway.datagrams(DATAGRAMS).catch((error: unknown) => {
    if (outlasts) return 0;
    throw error;
  });
  const ends = await Promise.all([gateway.transfer(bytes, 1), gateway.transfer(bytes / 4, 2, "socks")]);
  const answered = await asking;
  const roles = [gateway.agent, gateway.connector];
  if (outlasts) await Promise.any(roles.map((role) => role.until("uplink-lost")));
  const reasons = roles.flatMap((role) => role.linesOf("uplink-lost").map(({ msg }) => msg));
  if (outlasts) await untilLight(gateway);
  const seconds = (performance.now() - begin) / 1000;
  const said = [ends.join(", "), `${answered} datagrams`, `${seconds.toFixed(1)} s`, JSON.stringify(gateway.counts), ...reasons];
  const isOk = outlasts
    ? reasons.length > 0 && ends.every((end) => end === "reset")
    : reasons.length === 0 && ends.every((end) => end === "intact");
  return { isOk, answered, seconds, said: said.join("; ") };
}

/** Waits until everything works again. */
async function untilLight(gateway: BadPathGateway): Promise<void> {
  const deadline = performance.now() + LIGHT_MS;
  while (await gateway.transfer(100_000, 3).catch(() => "reset") !== "intact") {
    if (performance.now() > deadline) throw new Error("it did not work again in the light");
    await sleep(500);
  }
  await gateway.datagrams(1);
}
