/**
 * A whole gateway whose agent, connector or both reach the server over a bad path, and what an application does on it: transfers whose
 * every byte is compared, by a forward and by the proxy, and datagrams that are counted.
 */
import { join } from "node:path";
import { Gateway } from "./gateway_fixture.ts";
import { LossyPath, type PathCounts, type PathTrouble } from "./lossy_path_fixture.ts";
import type { RoleProcess } from "./processes_fixture.ts";
import {
  Backend,
  close,
  echo,
  hashToEnd,
  isClosed,
  isReset,
  readExactly,
  sleep,
  within,
  writeAll,
  writePattern,
} from "./tcp_fixture.ts";
import { UdpBackend, UdpClient } from "./udp_fixture.ts";

const LOOPBACK = "127.0.0.1";
/** What does not end by then hangs: ten times what a connection outlives without any answer (WIRE 2.6), for busy machines. */
const HANG_MS = 300_000;
/** Over a path that loses, on a machine that is busy. */
const START_MS = 60_000;
const DATAGRAM_PACE_MS = 5;
const utf8 = (text: string) => new TextEncoder().encode(text);

/** Where the trouble is. A way that is not named is a clean one. */
export interface Troubles {
  readonly agent?: PathTrouble;
  readonly connector?: PathTrouble;
}

/** What became of a transfer: every byte there and back, or a reset. An end before the last byte would be a lie. */
export type TransferEnd = "intact" | "reset" | "cut";

export class BadPathGateway implements AsyncDisposable {
  readonly gateway: Gateway;
  readonly agent: RoleProcess;
  readonly connector: RoleProcess;
  readonly paths: readonly LossyPath[];
  readonly #stack: AsyncDisposableStack;
  readonly #ports: readonly number[];

  private constructor(
    parts: Pick<BadPathGateway, "gateway" | "agent" | "connector" | "paths">,
    ports: readonly number[],
    stack: AsyncDisposableStack,
  ) {
    this.gateway = parts.gateway;
    this.agent = parts.agent;
    this.connector = parts.connector;
    this.paths = parts.paths;
    this.#ports = ports;
    this.#stack = stack;
  }

  /** One service for TCP and one for UDP, which answer with what they are told. */
  static async start(troubles: Troubles): Promise<BadPathGateway> {
    await using stack = new AsyncDisposableStack();
    const tcp = stack.use(new Backend(echo)), udp = stack.use(await UdpBackend.start());
    const gateway = stack.use(await Gateway.empty());
    const { pki } = gateway;
    const names = (role: string) => ["web", "dns"].map((id) => `${role}.${id}.ztna`);
    const [agentFiles, connectorFiles] = await Promise.all([
      pki.issue("path-agent", { dns: names("agent"), eku: ["clientAuth"] }),
      pki.issue("path-connector", { dns: names("connector"), eku: ["clientAuth"] }),
      gateway.startServer("--retry-key-file", join(gateway.folder, "address.keys")),
    ]);
    const paths: LossyPath[] = [];
    const uplinkFlags = async (files: typeof agentFiles, trouble: PathTrouble | undefined): Promise<string[]> => {
      if (trouble === undefined) return gateway.uplinkFlags(files);
      const path = stack.use(await LossyPath.start(gateway.serverAddress, trouble));
      paths.push(path);
      return gateway.uplinkFlags(files, path.address);
    };
    const services = ["--service", `web=${LOOPBACK}:${tcp.port}`, "--service", `dns=${LOOPBACK}:${udp.port}/udp`];
    const connector = gateway.run(["connector", ...services, ...await uplinkFlags(connectorFiles, troubles.connector)]);
    const ways = ["--forward", `${LOOPBACK}:0=web`, "--forward", `${LOOPBACK}:0=dns/udp`, "--proxy", `${LOOPBACK}:0`];
    const agent = gateway.run(["agent", ...ways, ...await uplinkFlags(agentFiles, troubles.agent)]);
    for (const service of ["web", "dns"]) await connector.until("registered", { service }, { ms: START_MS });
    await agent.until("uplink-connected", {}, { ms: START_MS });
    const ports = await agent.ports();
    return new BadPathGateway({ gateway, agent, connector, paths }, ports, stack.move());
  }

  /** What the paths did, all together. */
  get counts(): PathCounts {
    const sum = { passed: 0, lost: 0, doubled: 0, delayed: 0, rebinds: 0, darkened: 0 };
    for (const { counts } of this.paths) for (const key of Object.keys(sum) as (keyof PathCounts)[]) sum[key] += counts[key];
    return sum;
  }

  /** Sends so many bytes and compares what comes back. Throws when it hangs. */
  async transfer(bytes: number, seed: number, way: "forward" | "socks" = "forward", endAfterMs = 0): Promise<TransferEnd> {
    using client = await Deno.connect({ hostname: LOOPBACK, port: this.#ports[way === "forward" ? 0 : 2] ?? 0 });
    return await within(
      HANG_MS,
      `a transfer by ${way}`,
      way === "forward" ? exchange(client, bytes, seed, endAfterMs) : bySocks(client, bytes, seed),
    );
  }

  /** Asks so many questions, each once, and returns how many were answered. Throws when an answer belongs to no question. */
  async datagrams(count: number): Promise<number> {
    using client = new UdpClient(this.#ports[1] ?? 0);
    for (let i = 0; i < count; i++) {
      client.send(`question ${i}`);
      await new Promise((resolve) => setTimeout(resolve, DATAGRAM_PACE_MS));
    }
    // Later than all of them: when it is answered, what is still on its way is held up by no more than a reordering.
    await client.hear("the last");
    const answers = new Set(client.received.map((bytes) => new TextDecoder().decode(bytes)));
    answers.delete("re: the last");
    const asked = new Set(Array.from({ length: count }, (_, i) => `re: question ${i}`));
    const strays = [...answers].filter((answer) => !asked.has(answer));
    if (strays.length > 0) throw new Error(`answers that nobody asked for: ${strays.slice(0, 3).join(", ")}`);
    return answers.size;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

/** Writes a pattern and reads it back, both at once; the end follows the last byte after a while. */
export async function exchange(client: Deno.TcpConn, bytes: number, seed: number, endAfterMs = 0): Promise<TransferEnd> {
  const writing = writePattern(client, seed, bytes).then(async (sha256) => {
    await sleep(endAfterMs);
    await client.closeWrite();
    return sha256;
  }).catch((error: unknown) => {
    if (isReset(error) || isClosed(error) || error instanceof Deno.errors.NotConnected) return "";
    throw error;
  });
  const got = await hashToEnd(client);
  // Whoever could still be writing is told by this.
  if (got.end === "reset") close(client);
  const sent = await writing;
  if (got.end === "reset") return "reset";
  return sent !== "" && got.count === bytes && got.sha256 === sent ? "intact" : "cut";
}

async function bySocks(client: Deno.TcpConn, bytes: number, seed: number): Promise<TransferEnd> {
  const name = utf8("web.ztna");
  await writeAll(client, new Uint8Array([5, 1, 0, 5, 1, 0, 3, name.length, ...name, 0, 80]));
  const reply = await readExactly(client, 12, HANG_MS);
  if (reply[3] !== 0) throw new Error(`SOCKS answered ${reply[3]}`);
  return await exchange(client, bytes, seed);
}
