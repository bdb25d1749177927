/** A role with a metrics listener in a process of its own, so that its memory and descriptors can be watched. Ends when its input does. */
import { withRole } from "./ops_role_fixture.ts";

const [folder = ""] = Deno.args;
const settings = {
  metricsPort: null,
  metricsAddr: "[::1]:0",
  metricsCertPath: `${folder}/server.crt`,
  metricsKeyPath: `${folder}/server.key`,
  metricsCaPath: `${folder}/ca.crt`,
};
await withRole(settings, async ({ ops }) => {
  console.log(ops.metricsAddress?.port);
  while (await Deno.stdin.read(new Uint8Array(64)) !== null);
});
