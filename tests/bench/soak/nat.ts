/**
 * Every cell of the table of NATs: agents and connectors that are public, behind a full cone, behind a port-restricted and a symmetric
 * NAT, and behind one router, each with each. Where a direct path can be it is found, and where not the server carries all.
 */
import { join } from "node:path";
import { missing } from "../../../tools/needs.ts";
import { type Cell, IPV6_CELL, isDirect, routeIn, TABLE } from "../../e2e/nat_cell_fixture.ts";
import { NAT_NEEDS } from "../../e2e/nat_fixture.ts";
import { makePki } from "../../e2e/pki_fixture.ts";
import { TemporaryFolder } from "../../e2e/processes_fixture.ts";
import type { Soak, SoakRun } from "./soak.ts";

export const nat: Soak = {
  name: "nat",
  usual: "3 min",
  about: "direct paths through NATs of five kinds on either side: found where there can be one; needs root",
  run: soakNat,
};

async function soakNat(run: SoakRun): Promise<void> {
  const lack = missing(NAT_NEEDS);
  if (lack !== undefined) throw new Error(`needs ${lack}`);
  const cells = [...TABLE, IPV6_CELL];
  // At a smaller scale as many of them, from all over the table.
  const step = Math.max(1, Math.round(1 / run.scale));
  const chosen = cells.filter((_, i) => i % step === 0);
  for (const cell of chosen) await check(run, cell);
  run.figure("cells", chosen.length, "");
}

async function check(run: SoakRun, cell: Cell): Promise<void> {
  const label = `agent ${cell.agent}, connector ${cell.connector}`;
  run.say(label);
  using folder = new TemporaryFolder();
  const pki = await makePki(join(folder.path, "pki"));
  const wanted = isDirect(cell) ? "direct" : "relay";
  const found = await routeIn(pki, folder.path, cell).catch((error: Error) => error.message);
  run.check(label, found === wanted, found);
}
