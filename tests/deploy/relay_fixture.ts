/** Three roles behind a wrapper, and a transfer through them: that the binary does its whole work where the wrapper puts it. */
import { assertEquals } from "@std/assert";
import { join } from "node:path";
import { Gateway } from "../e2e/gateway_fixture.ts";
import { Backend, close, echo, hashToEnd, writePattern } from "../e2e/tcp_fixture.ts";

const TRANSFER_BYTES = 16 * 2 ** 20;

/** The user as whom the roles run; no machine has such a one. */
export const NOBODY = 65_532;

/** Gives a folder and all that is in it to {@linkcode NOBODY}. */
export function giveAway(folder: string): void {
  Deno.chownSync(folder, NOBODY, NOBODY);
  for (const { name, isDirectory } of Deno.readDirSync(folder)) {
    if (isDirectory) giveAway(join(folder, name));
    else Deno.chownSync(join(folder, name), NOBODY, NOBODY);
  }
}

/**
 * Starts server, connector and agent behind the wrapper that is made of the gateway's folder, sends bytes there and back through them,
 * calls `meanwhile`, and stops them. Fails when a byte is missing or a role does not end well.
 */
export async function relayThrough(wrapper: (folder: string) => readonly string[], meanwhile = async () => {}): Promise<void> {
  await using backend = new Backend(echo);
  await using gateway = await Gateway.empty({ wrapper });
  giveAway(gateway.folder);
  await gateway.startServer();
  await Promise.all([
    gateway.startConnector({ web: backend.port }, gateway.pki.connector),
    gateway.startAgent(["web"], gateway.pki.agent),
  ]);
  const client = await gateway.connect("web");
  try {
    const [sent, received] = await Promise.all([
      writePattern(client, 7, TRANSFER_BYTES).finally(() => client.closeWrite()),
      hashToEnd(client),
    ]);
    assertEquals(received, { count: TRANSFER_BYTES, sha256: sent, end: "end" });
  } finally {
    close(client);
  }
  await meanwhile();
  for (const role of [gateway.agent, gateway.connector, gateway.server]) assertEquals((await role.stop()).code, 0, role.tail());
}
