/** Agents that must be turned away, and what they say when they are. */
import { type Crew, DemoFailure, WAIT_MS, within } from "./crew.ts";
import { requestPage } from "./page.ts";
import type { DemoFolder } from "./settings.ts";

/** An agent without a certificate must end with exit code 1. Returns its error. */
export async function refuseNoCertificate(crew: Crew, folder: DemoFolder, serverPort: number): Promise<string> {
  const agent = crew.start("agent-no-certificate", await folder.writeIntruder("no-certificate", serverPort), false);
  const late = () => new DemoFailure("the server did not turn away an agent without a certificate", agent);
  const { code } = await within(agent.status, WAIT_MS, late);
  const said = agent.log.lines.find((line) => line.startsWith("postern: error: "));
  if (code !== 1 || said === undefined) throw new DemoFailure(`an agent without a certificate ended with code ${code}`, agent);
  if (!agent.log.records.some(({ event, code }) => event === "fatal" && code === "refused")) throw late();
  return said.slice("postern: error: ".length);
}

/** An agent whose certificate does not allow it: it may connect, but its client is reset. Returns the reason in its log. */
export async function refuseWrongName(crew: Crew, folder: DemoFolder, serverPort: number): Promise<string> {
  const agent = crew.start("agent-wrong-name", await folder.writeIntruder("wrong-name", serverPort), false);
  const [port = 0] = await agent.ports();
  await agent.until("uplink-connected");
  const outcome = await readOnce(port);
  if (outcome !== "reset") throw new DemoFailure(`a client without the right got through: ${outcome} instead of a reset`, agent);
  const { msg } = await agent.until("stream-refused", { code: "denied" });
  await agent.stop();
  return msg;
}

/** Asks for the page and reads one byte of the answer. */
async function readOnce(port: number): Promise<string> {
  using connection = await Deno.connect({ hostname: "127.0.0.1", port });
  const late = () => new DemoFailure("a client without the right was neither served nor reset");
  const asking = async () => {
    await requestPage(connection, port);
    return await connection.read(new Uint8Array(1)) === null ? "an end" : "data";
  };
  try {
    return await within(asking(), WAIT_MS, late);
  } catch (error) {
    if (error instanceof Deno.errors.ConnectionReset || error instanceof Deno.errors.BrokenPipe) return "reset";
    throw error;
  }
}
