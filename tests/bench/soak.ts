/**
 * `deno task soak`: long runs that look for what only time shows: memory and descriptors that grow, packets that get lost, a process
 * that ends. Without a name it lists them. `dist/postern` must be built.
 *
 *   deno task soak [NAME...] [--scale 0.1] [--json]
 *
 * Exit code 0: everything that was checked holds; 1: something does not; 2: there is no such name.
 */
import { parseArgs } from "node:util";
import { formatReport, runSoak, SOAKS } from "./soak/mod.ts";

const { values, positionals } = parseArgs({
  options: {
    json: { type: "boolean", default: false },
    scale: { type: "string", default: "1" },
  },
  allowPositionals: true,
});
const scale = Number(values.scale);

if (positionals.length === 0) {
  const width = Math.max(...SOAKS.map(({ name }) => name.length));
  for (const { name, usual, about } of SOAKS) console.log(`  ${name.padEnd(width)}  ${usual.padEnd(7)}  ${about}`);
  Deno.exit(0);
}

const chosen = SOAKS.filter(({ name }) => positionals.includes(name));
const unknown = positionals.filter((wanted) => !SOAKS.some(({ name }) => name === wanted));
if (unknown.length > 0 || !(scale > 0)) {
  console.error(
    unknown.length > 0
      ? `there is no soak ${unknown.join(", ")}; without a name they are listed`
      : "--scale takes a number above 0",
  );
  Deno.exit(2);
}

let isOk = true;
for (const soak of chosen) {
  const report = await runSoak(soak, scale, (words) => console.error(`${soak.name}: ${words}`));
  isOk &&= report.isOk;
  console.log(values.json === true ? JSON.stringify(report) : formatReport(report));
}
Deno.exit(isOk ? 0 : 1);
