/**
 * The network under an agent changes while a transfer goes on: another address, another interface, no link for a while. In network
 * namespaces: the agent has one of its own, the server and the connector share another.
 */
import { assert, assertEquals } from "@std/assert";
import { join } from "node:path";
import { needing } from "../../tools/needs.ts";
import { NAT_NEEDS, SERVER_ADDRESS, SmallInternet } from "./nat_fixture.ts";
import { type DevelopmentPki, makePki } from "./pki_fixture.ts";
import { RoleProcess, TemporaryFolder } from "./processes_fixture.ts";
import { sleep } from "./tcp_fixture.ts";
import type { Namespace } from "./tun_fixture.ts";

const FILE_BYTES = 12 << 20;
const SERVER = `${SERVER_ADDRESS}:4433`;

/** An agent on the public network, and the file that it can download. */
class Site implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();
  readonly #folder: TemporaryFolder;
  readonly #internet: SmallInternet;
  readonly #pki: DevelopmentPki;
  server: RoleProcess;
  agent: RoleProcess;
  readonly host: Namespace;

  private constructor(folder: TemporaryFolder, internet: SmallInternet, pki: DevelopmentPki, host: Namespace) {
    this.#folder = folder;
    this.#internet = internet;
    this.#pki = pki;
    this.host = host;
    this.#stack.use(folder);
    this.#stack.use(internet);
    const { server } = internet;
    const files = this.#stack.adopt(
      server.command("python3", "-m", "http.server", "8000", "--bind", "127.0.0.1", "--directory", folder.path).spawn(),
      async (child) => {
        child.kill("SIGKILL");
        await child.output();
      },
    );
    assert(files.pid > 0);
    this.server = this.startServer();
    this.#role(server, "connector", "--service", "web=127.0.0.1:8000", "--health", "off", ...this.#uplink("connector"));
    this.agent = this.#role(host, "agent", "--forward", "9000=web", ...this.#uplink("agent"));
  }

  static async open(): Promise<Site> {
    const folder = new TemporaryFolder();
    const pki = await makePki(join(folder.path, "pki"));
    Deno.writeFileSync(join(folder.path, "file"), new Uint8Array(FILE_BYTES).map((_, i) => i * 31 >> 3));
    const internet = await SmallInternet.open();
    const [host] = await internet.hosts("public", 1);
    if (host === undefined) throw new Error("no host");
    const site = new Site(folder, internet, pki, host);
    await site.agent.until("uplink-connected");
    await site.whole();
    return site;
  }

  /** A second interface of the agent's host. */
  async addInterface(name: string, address: string): Promise<void> {
    const { server } = this.#internet;
    await server.run("ip", "link", "add", "second", "type", "veth", "peer", "name", name, "netns", `${this.host.pid}`);
    await server.run("ip", "link", "set", "second", "master", "lan", "up");
    await this.host.run("ip", "addr", "add", address, "dev", name);
    await this.host.run("ip", "link", "set", name, "up");
  }

  startServer(): RoleProcess {
    const { server, caCert } = this.#pki;
    const files = ["--cert", server.cert, "--key", server.key, "--ca-cert", caCert];
    this.server = this.#role(this.#internet.server, "server", "--bind", SERVER, ...files);
    return this.server;
  }

  /** Downloads the file, if need be again and again, and compares it. */
  async whole(): Promise<void> {
    const to = join(this.#folder.path, "whole");
    await this.host.run(
      "curl",
      "-sSf",
      "--retry",
      "60",
      "--retry-all-errors",
      "--retry-delay",
      "1",
      "-o",
      to,
      "http://127.0.0.1:9000/file",
    );
    assertEquals(Deno.readFileSync(to), Deno.readFileSync(join(this.#folder.path, "file")));
  }

  /** Calls `change` amid a download. Whether that came to its end. */
  async during(change: () => Promise<void>): Promise<boolean> {
    const to = join(this.#folder.path, "part");
    const child = this.host.command("curl", "-sSf", "--limit-rate", "6M", "-o", to, "http://127.0.0.1:9000/file").spawn();
    const ended = child.output();
    const size = () => Deno.statSync(to).size;
    while (!exists(to) || size() < 1 << 20) await sleep(20);
    assert(size() < FILE_BYTES);
    await change();
    const { code } = await ended;
    const isWhole = code === 0 && size() === FILE_BYTES;
    Deno.removeSync(to);
    return isWhole;
  }

  /** The transfer goes on over `change`, which the agent notices. Where the machine is too busy for that, the agent dials anew. */
  async survives(change: () => Promise<void>): Promise<void> {
    const from = this.agent.lines.length;
    const isWhole = await this.during(change);
    await this.agent.until("network-changed", {}, { from });
    const lost = this.agent.lines.slice(from).filter(({ event }) => event === "uplink-lost");
    assert(isWhole || lost.length > 0, this.agent.tail());
    await this.whole();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }

  #role(namespace: Namespace, ...args: readonly string[]): RoleProcess {
    return this.#stack.use(new RoleProcess(args, this.#folder.path, {}, ["nsenter", `--net=/proc/${namespace.pid}/ns/net`]));
  }

  #uplink(name: "agent" | "connector"): string[] {
    const { cert, key } = this.#pki[name];
    const trust = ["--server-name", "ztna-server", "--ca-cert", this.#pki.caCert];
    return ["--server", SERVER, ...trust, "--client-cert", cert, "--client-key", key];
  }
}

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

Deno.test(
  needing(
    NAT_NEEDS,
    "a transfer goes on when the agent's address changes, and when its way leaves by another interface",
    async () => {
      await using site = await Site.open();
      const { host } = site;
      await site.survives(async () => {
        await host.run("ip", "addr", "flush", "dev", "eth0");
        await host.run("ip", "addr", "add", "203.0.113.77/24", "dev", "eth0");
      });
      await site.addInterface("eth1", "203.0.113.88/32");
      await site.survives(async () => {
        await host.run("ip", "route", "add", `${SERVER_ADDRESS}/32`, "dev", "eth1", "src", "203.0.113.88");
      });
    },
  ),
);

Deno.test(needing(NAT_NEEDS, "an agent that comes back to a server that was started anew dials again, and serves", async () => {
  await using site = await Site.open();
  const { host, agent } = site;
  const from = agent.lines.length;
  await host.run("ip", "link", "set", "eth0", "down");
  await site.server.stop("SIGKILL");
  await site.startServer().until("ready");
  await host.run("ip", "link", "set", "eth0", "up");
  await agent.until("network-changed", {}, { from });
  await agent.until("uplink-lost", {}, { from, ms: 60_000 });
  await agent.until("uplink-connected", {}, { from, ms: 60_000 });
  await site.whole();
}));
