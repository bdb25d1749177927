/**
 * A server of two workers. Which worker carries a connection follows from its number: worker 0 counts 1, 3, 5 and so on, worker 1 the
 * others. Agents are started until there is one on either side of the connector, so that streams go within a worker and across.
 */
import { assert, assertEquals } from "@std/assert";
import { Gateway } from "./gateway_fixture.ts";
import { type RoleProcess, runPostern } from "./processes_fixture.ts";
import { Backend, closedPort, hashToEnd, MARK, RawConnection, readToEnd, writeAll, writePattern } from "./tcp_fixture.ts";

const AGENTS_MAX = 24, BYTES = 3 * 1024 * 1024;

/** The test runner cannot tell the reading of a process's log from a leak. */
const UNCHECKED = { sanitizeOps: false, sanitizeResources: false } as const;

interface PeerRow {
  readonly id: string;
  readonly role: string;
  readonly common_name: string;
}

async function ask(gateway: Gateway, server: RoleProcess, ...words: readonly string[]): Promise<string> {
  const end = await runPostern(words, gateway.folder, { XDG_RUNTIME_DIR: server.runtimeFolder });
  assertEquals(end.code, 0, end.said);
  return end.stdout;
}

async function peersOf(gateway: Gateway, server: RoleProcess): Promise<readonly PeerRow[]> {
  return JSON.parse(await ask(gateway, server, "peers", "--json")).peers;
}

const workerOf = ({ id }: PeerRow) => (Number(id) - 1) % 2;

/** Both ends' bytes and their half-closes through the agent's port. */
async function exchange(port: number, backend: Backend): Promise<void> {
  using client = await Deno.connect({ port });
  await writeAll(client, MARK);
  using accepted = await backend.next();
  const up = async () => {
    const sha256 = await writePattern(client, 1, BYTES);
    await client.closeWrite();
    return sha256;
  };
  const [sent, got] = await Promise.all([up(), hashToEnd(accepted)]);
  assertEquals(got, { count: BYTES, sha256: sent, end: "end" });
  // The client has ended, and is still answered.
  const down = async () => {
    const sha256 = await writePattern(accepted, 2, BYTES);
    await accepted.closeWrite();
    return sha256;
  };
  const [answered, heard] = await Promise.all([down(), hashToEnd(client)]);
  assertEquals(heard, { count: BYTES, sha256: answered, end: "end" });
}

/** A client that goes away in the middle is a reset for the backend. */
async function abort(port: number, backend: Backend): Promise<void> {
  using client = RawConnection.connect(port);
  client.write(MARK);
  using accepted = await backend.next();
  client.reset();
  assertEquals((await readToEnd(accepted)).end, "reset");
}

/** A server of two workers, a connector, and agents until there is one on either; their ports by worker. */
async function startOnBoth(gateway: Gateway, backend: Backend) {
  const server = await gateway.startServer("--workers", "2");
  const issue = (name: string) =>
    gateway.pki.issue(name, { dns: [`${name === "connector" ? name : "agent"}.web.ztna`], eku: ["clientAuth"] });
  await gateway.startConnector({ web: backend.port }, await issue("connector"));
  const ports = new Map<number, number>();
  const names: string[] = [];
  while (ports.size < 2 && names.length < AGENTS_MAX) {
    const name = `agent-${names.length}`;
    names.push(name);
    await gateway.startAgent(["web"], await issue(name));
    const peer = (await peersOf(gateway, server)).find(({ common_name }) => common_name === name);
    assert(peer !== undefined, `the server does not name ${name}`);
    ports.set(workerOf(peer), gateway.portOf("web"));
  }
  assertEquals([...ports.keys()].sort(), [0, 1], "every agent is on the same worker");
  return { server, ports, names };
}

Deno.test({
  name: "two workers: streams, half-closes and resets within a worker and across; peers, disconnect, reload and the end",
  ...UNCHECKED,
  async fn() {
    await using gateway = await Gateway.empty();
    await using backend = new Backend();
    const { server, ports, names } = await startOnBoth(gateway, backend);
    for (const port of ports.values()) await exchange(port, backend);
    for (const port of ports.values()) await abort(port, backend);

    const peers = await peersOf(gateway, server);
    assertEquals(peers.map(({ common_name }) => common_name).sort(), [...names, "connector"].sort());
    const from = server.lines.length;
    Deno.kill(server.pid, "SIGHUP");
    await server.until("reloaded", {}, { from });
    for (const port of ports.values()) await exchange(port, backend);

    for (const worker of [0, 1]) {
      const peer = (await peersOf(gateway, server)).find((row) => row.role !== "connector" && workerOf(row) === worker);
      if (peer === undefined) continue;
      await ask(gateway, server, "disconnect", peer.id);
      let rows = await peersOf(gateway, server);
      for (let i = 0; i < 50 && rows.some(({ id }) => id === peer.id); i++) rows = await peersOf(gateway, server);
      assert(!rows.some(({ id }) => id === peer.id), `${peer.id} is still there`);
    }
    assertEquals((await server.stop("SIGTERM")).code, 0);
  },
});

Deno.test({
  name: "two workers: a server that is told to end lets the streams of both finish",
  ...UNCHECKED,
  async fn() {
    await using gateway = await Gateway.empty();
    await using backend = new Backend();
    const { server, ports } = await startOnBoth(gateway, backend);
    using first = await Deno.connect({ port: ports.get(0) ?? 0 });
    await writeAll(first, MARK);
    using firstAccepted = await backend.next();
    using second = await Deno.connect({ port: ports.get(1) ?? 0 });
    await writeAll(second, MARK);
    using secondAccepted = await backend.next();
    const end = server.stop("SIGTERM");
    await server.until("stopping");
    for (const [client, accepted] of [[first, firstAccepted], [second, secondAccepted]] as const) {
      const send = async (to: Deno.TcpConn, seed: number) => {
        const sha256 = await writePattern(to, seed, BYTES);
        await to.closeWrite();
        return { count: BYTES, sha256, end: "end" };
      };
      const [up, got] = await Promise.all([send(client, 1), hashToEnd(accepted)]);
      assertEquals(got, up);
      const [down, heard] = await Promise.all([send(accepted, 2), hashToEnd(client)]);
      assertEquals(heard, down);
    }
    assertEquals((await end).code, 0);
  },
});

Deno.test({
  name: "a server of two workers takes no port that a server of two workers has, and says whose word is wrong",
  ...UNCHECKED,
  async fn() {
    await using gateway = await Gateway.empty();
    await gateway.startServer("--workers", "2");
    const { server, caCert } = gateway.pki;
    const certificates = ["--cert", server.cert, "--key", server.key, "--ca-cert", caCert];
    const second = await runPostern(
      ["server", "--bind", gateway.serverAddress, "--workers", "2", "--metrics-port", "0", "--no-unix-socket", ...certificates],
      gateway.folder,
    );
    assertEquals(second.code, 1, second.said);
    assert(JSON.stringify(second).includes("address already in use"), second.said);
    const wrong = await runPostern(["server", "--bind", `127.0.0.1:${closedPort()}`, "--workers", "17"], gateway.folder);
    assertEquals(wrong.code, 2);
    assert(JSON.stringify(wrong).includes("must be auto or a whole number of 1 to 16"), wrong.said);
  },
});
