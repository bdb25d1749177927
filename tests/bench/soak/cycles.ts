/**
 * 10,000 connections opened and closed, every third by RST, on each path: as packets of the kernel in a namespace, and as streams of an
 * agent. Memory and descriptors of all roles stay where they were. The packets need root and are left out without.
 */
import { missing } from "../../../tools/needs.ts";
import { Backend, echo, MARK, RawConnection, readToEnd, sleep, writeAll } from "../../e2e/tcp_fixture.ts";
import { TUN_NEEDS, type TunHost } from "../../e2e/tun_fixture.ts";
import { TunGateway } from "../../e2e/tun_gateway_fixture.ts";
import { ProcessWatch } from "./process_watch.ts";
import type { Soak, SoakRun } from "./soak.ts";

const CYCLES = 10_000;
/** At one time. */
const LANES = 4;
const WARM_SHARE = 0.2;
/** Ended connections are cleaned up by then. */
const SETTLE_MS = 2_000;

export const cycles: Soak = {
  name: "cycles",
  usual: "2 min",
  about: "10,000 connections opened and closed as packets and as many as streams: nothing is left behind",
  run: soakCycles,
};

async function soakCycles(run: SoakRun): Promise<void> {
  const count = Math.ceil(CYCLES * run.scale / LANES) * LANES;
  await using backend = new Backend(echo);
  await using gateway = await TunGateway.start({ services: { echo: `127.0.0.1:${backend.port}` } });
  const { gateway: roles } = gateway;
  await roles.startAgent(["echo"], await roles.pki.issue("stream-agent", { dns: ["agent.echo.ztna"], eku: ["clientAuth"] }));
  const lack = missing(TUN_NEEDS);
  const host = lack === undefined ? await gateway.host() : null;
  if (host === null) run.say(`packets are left out: needs ${lack}`);

  run.say("warming up");
  const warm = Math.ceil(count * WARM_SHARE / LANES) * LANES;
  await asStreams(gateway, warm);
  if (host !== null) await asPackets(gateway, host, warm);
  await sleep(SETTLE_MS);
  using watches = new DisposableStack();
  const watched = [["server", roles.server], ["connector", roles.connector], ["agent", roles.agent]] as const;
  const all = watched.map(([name, role]) => watches.use(new ProcessWatch(name, role)));

  const streams = await asStreams(gateway, count);
  run.check("every stream carried its bytes", streams === count, `${streams} of ${count}`);
  if (host !== null) {
    const { good, bad } = await asPackets(gateway, host, count);
    run.check("every session of packets carried its bytes", good === count, `${good} of ${count} ${bad}`);
  }
  await sleep(SETTLE_MS);
  for (const watch of all) watch.report(run);
}

/** In the namespace, by python. Returns how many went as they should, and what was said of some that did not. */
async function asPackets(gateway: TunGateway, host: TunHost, count: number): Promise<{ good: number; bad: string }> {
  const [to] = gateway.addressesOf("echo");
  const lanes = Array.from({ length: LANES }, (_, lane) => {
    // A source may begin ten sessions in a second.
    const sources = host.sources.filter((_, i) => i % LANES === lane);
    return host.job({ kind: "cycles", to, port: 80, count: count / LANES, sources });
  });
  const results = await Promise.all(lanes);
  return { good: results.reduce((sum, { good }) => sum + Number(good), 0), bad: results.map(({ bad }) => bad).join(" ").trim() };
}

/** By the agent's local port. */
async function asStreams(gateway: TunGateway, count: number): Promise<number> {
  const lanes = Array.from({ length: LANES }, async () => {
    let good = 0;
    for (let i = 0; i < count / LANES; i++) good += await asStream(gateway, i % 3 === 2) ? 1 : 0;
    return good;
  });
  return (await Promise.all(lanes)).reduce((sum, good) => sum + good, 0);
}

async function asStream({ gateway }: TunGateway, isReset: boolean): Promise<boolean> {
  if (isReset) {
    const connection = RawConnection.connect(gateway.portOf("echo"));
    connection.write(MARK);
    connection.reset();
    return true;
  }
  using connection = await gateway.connect("echo");
  await writeAll(connection, new Uint8Array(100));
  await connection.closeWrite();
  return (await readToEnd(connection)).bytes.length === 100;
}
