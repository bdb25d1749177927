/**
 * Linux' own TCP through the tunnel's packets, in the amounts that a night allows: 1 GiB each way, and 64 MiB each way over a path that
 * loses, doubles and reorders. Every byte arrives. Needs root.
 */
import { missing } from "../../../tools/needs.ts";
import { LossyPath } from "../../e2e/lossy_path_fixture.ts";
import { TUN_NEEDS } from "../../e2e/tun_fixture.ts";
import { curlBothWays, HttpBackend, TunGateway } from "../../e2e/tun_gateway_fixture.ts";
import type { Soak, SoakRun } from "./soak.ts";

const MIB = 1024 * 1024;
const CLEAN_MIB = 1024, BAD_MIB = 64;
const TROUBLE = { loss: 0.02, duplicate: 0.02, reorder: 0.02, seed: 11 };

export const transfers: Soak = {
  name: "transfers",
  usual: "3 min",
  about: "curl of 1 GiB each way through packets, and of 64 MiB over a bad path: every byte arrives",
  run: soakTransfers,
};

async function soakTransfers(run: SoakRun): Promise<void> {
  const lack = missing(TUN_NEEDS);
  run.check("the machine has what it needs", lack === undefined, lack ?? "it does");
  if (lack !== undefined) return;
  await using http = new HttpBackend();
  await using gateway = await TunGateway.start({ services: { web: `127.0.0.1:${http.port}` } });
  const url = `http://${gateway.addressesOf("web")[0]}:80`;
  const clean = Math.ceil(CLEAN_MIB * run.scale) * MIB, bad = Math.ceil(BAD_MIB * run.scale) * MIB;

  let begin = performance.now();
  await curlBothWays(gateway, await gateway.host(), url, clean);
  run.figure("clean path, both ways", 2 * clean / 1e6 / ((performance.now() - begin) / 1000), "MB/s");
  run.check("every byte over the clean path", true, `${clean / MIB} MiB each way`);

  await using path = await LossyPath.start(gateway.gateway.serverAddress, TROUBLE);
  const host = await gateway.host({ server: path.address });
  begin = performance.now();
  await curlBothWays(gateway, host, url, bad);
  run.figure("bad path, both ways", 2 * bad / 1e6 / ((performance.now() - begin) / 1000), "MB/s");
  const { passed, lost, doubled, delayed } = path.counts;
  run.check("every byte over the bad path", true, `${bad / MIB} MiB each way`);
  run.check("the path was bad", Math.min(lost, doubled, delayed) > passed / 100, `${lost}, ${doubled}, ${delayed} of ${passed}`);
}
