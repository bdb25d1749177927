/**
 * 2,000 agents on one server, held for a while; then the server is killed and 1,000 come back in one moment. All are registered again,
 * and what a handshake and an idle connection cost stands beside quiche's own floor.
 */
import { Gateway } from "../../e2e/gateway_fixture.ts";
import { sleep } from "../../e2e/tcp_fixture.ts";
import { Floor } from "../load/floor.ts";
import { costOf, OPEN_LIMITS, PeersLoad, type Registered, registeredAgents } from "../load/peers_load.ts";
import type { Soak, SoakRun } from "./soak.ts";

const HELD = 2_000, RETURNING = 1_000, WARM = 100;
const WINDOW = 64;
/** More than two keepalives and the idle time-out of connections that nobody keeps. */
const HOLD_MS = 45_000;
const SETTLE_MS = 3_000;

export const load: Soak = {
  name: "load",
  usual: "3 min",
  about: "2,000 agents held, 1,000 back at once after the server was killed: all are registered, beside quiche's floor",
  run: soakLoad,
};

interface Cost extends Registered {
  readonly cpuMs: number;
  readonly kibPerConnection: number;
}

async function soakLoad(run: SoakRun): Promise<void> {
  const held = Math.ceil(HELD * run.scale), returning = Math.ceil(RETURNING * run.scale);
  await using gateway = await Gateway.empty();
  const { pki } = gateway;
  const keys = ["--retry-key-file", `${gateway.folder}/address.keys`];
  const server = await gateway.startServer(...OPEN_LIMITS, ...keys);

  run.say("warming up");
  await measure(server.pid, gateway.serverAddress, pki.folder, WARM, 0);
  run.say(`${held} agents`);
  const product = await measure(server.pid, gateway.serverAddress, pki.folder, held, HOLD_MS * Math.min(1, run.scale), async () => {
    const count = await registeredAgents(server, gateway.folder);
    run.check("the server knows all of them after a while", count === held, `${count} of ${held}`);
  });
  report(run, "server", product);

  run.say("quiche's floor");
  await using floor = await Floor.start(pki.server.cert, pki.server.key, pki.caCert);
  if (floor === null) run.say("it cannot be built here");
  else {
    const address = `127.0.0.1:${floor.port}`;
    await measure(floor.pid, address, pki.folder, WARM, 0);
    const least = await measure(floor.pid, address, pki.folder, held, 0);
    report(run, "floor", least);
    run.figure("server / floor: CPU of a handshake", product.cpuMs / least.cpuMs, "");
    run.figure("server / floor: memory of a connection", product.kibPerConnection / least.kibPerConnection, "");
  }

  run.say(`${returning} agents, and the server is killed`);
  await using crowd = new PeersLoad({ server: gateway.serverAddress, pki: pki.folder, count: returning, window: WINDOW });
  await crowd.registered();
  await server.stop("SIGKILL");
  const again = await gateway.startServer(...OPEN_LIMITS, ...keys);
  await crowd.redial();
  const back = await crowd.registered();
  run.figure("all at once: until the last is registered", back.seconds, "s");
  run.figure("all at once: connections that had to try again", back.lost, "");
  const count = await registeredAgents(again, gateway.folder);
  run.check("all are registered again", count === returning, `${count} of ${returning} in ${back.seconds.toFixed(1)} s`);
}

/** Connects so many, holds them for a time, and lets them go. */
async function measure(
  pid: number,
  server: string,
  pki: string,
  count: number,
  holdMs: number,
  whileHeld: () => Promise<void> = () => Promise.resolve(),
): Promise<Cost> {
  await using crowd = new PeersLoad({ server, pki, count, window: WINDOW });
  const { value, cpuSeconds, grownMiB } = await costOf(pid, () => crowd.registered());
  await sleep(SETTLE_MS + holdMs);
  await whileHeld();
  return { ...value, cpuMs: cpuSeconds * 1000 / count, kibPerConnection: grownMiB * 1024 / count };
}

function report(run: SoakRun, who: string, { count, seconds, cpuMs, kibPerConnection, lost }: Cost): void {
  run.figure(`${who}: handshakes with registration`, count / seconds, "/s");
  run.figure(`${who}: CPU of a handshake`, cpuMs, "ms");
  run.figure(`${who}: memory of an idle connection`, kibPerConnection, "KiB");
  run.check(`${who}: none was lost on the way`, lost === 0, `${lost} of ${count}`);
}
