/**
 * A direct path that goes dark while connections run on it, in both directions or in one: they go on by the server, and directly
 * again when it carries again. In network namespaces, so that packets can be dropped on the way.
 */
import { assert, assertEquals } from "@std/assert";
import { needing } from "../../tools/needs.ts";
import { Gateway } from "./gateway_fixture.ts";
import { Conversation, LineService, UdpConversation } from "./line_fixture.ts";
import { type RoleProcess, runPostern } from "./processes_fixture.ts";
import { Namespace } from "./tun_fixture.ts";

const NEEDS = { root: true, tools: ["unshare", "nsenter", "ip", "iptables", "python3"], files: ["dist/postern"] };
/** What falls silent takes some seconds to be noticed, and half a minute until it is tried again. */
const PATIENCE = { ms: 120_000 };
/** More than anything else that an agent says to a connector directly. */
const BULK_BYTES = 300_000;
const NAMES = ["ztna-connector", "connector.web.ztna"];

type Darkness = "both" | "to-connector" | "to-agent";

/** All roles in one namespace, and a direct path between two of them. */
class DirectPair implements AsyncDisposable {
  readonly namespace: Namespace;
  readonly gateway: Gateway;
  readonly #stack: AsyncDisposableStack;
  #rules: readonly (readonly string[])[] = [];

  private constructor(stack: AsyncDisposableStack, namespace: Namespace, gateway: Gateway) {
    this.#stack = stack;
    this.namespace = namespace;
    this.gateway = gateway;
  }

  static async start(): Promise<DirectPair> {
    await using stack = new AsyncDisposableStack();
    const namespace = stack.use(await Namespace.open());
    await namespace.run("ip", "link", "set", "lo", "up");
    const service = stack.use(await LineService.start(namespace));
    const wrapper = ["nsenter", `--net=/proc/${namespace.pid}/ns/net`];
    const gateway = stack.use(await Gateway.empty({ wrapper }));
    await gateway.startServer();
    const p2p = await gateway.pki.issue("p2p", { dns: NAMES, eku: ["serverAuth"] });
    const listen = ["--p2p-bind", "127.0.0.1", "--p2p-listen-port", "0", "--p2p-cert", p2p.cert, "--p2p-key", p2p.key];
    const asDatagrams = ["--service", `web=127.0.0.1:${service.port}/udp`];
    await gateway.startConnector({ web: service.port }, gateway.pki.connector, ...asDatagrams, ...listen);
    await gateway.startAgent(["web", "web/udp"], gateway.pki.agent, "--p2p");
    return new DirectPair(stack.move(), namespace, gateway);
  }

  /** A connection of a local program to the service. */
  converse(): Conversation {
    return this.#stack.use(new Conversation(this.namespace, this.gateway.portOf("web")));
  }

  /** A flow of datagrams to the service. */
  converseInDatagrams(): UdpConversation {
    return this.#stack.use(new UdpConversation(this.namespace, this.gateway.portOf("web/udp")));
  }

  /** A connection that runs on the direct path. */
  async converseDirectly(): Promise<Conversation> {
    assert(await this.converse().say("first"));
    await this.gateway.agent.until("direct-opened", {}, PATIENCE);
    // On a busy machine the path may be in doubt for a moment, and what begins then goes by the server.
    let conversation = this.converse();
    await eventually(async () => {
      assert(await conversation.say("0123456789", BULK_BYTES / 10));
      if ((await this.status(this.gateway.connector, "connector")).peers[0]?.bytes_received >= BULK_BYTES) return true;
      conversation = this.converse();
      return false;
    });
    return conversation;
  }

  /** From now on the path between the two is dark; the one between each of them and the server is not. */
  async darken(darkness: Darkness): Promise<void> {
    const port = `${(await this.gateway.connector.ports())[0]}`, server = `${this.gateway.serverPort}`;
    const to = ["INPUT", "-p", "udp", "--dport", port, "!", "--sport", server, "-j", "DROP"];
    const from = ["INPUT", "-p", "udp", "--sport", port, "!", "--dport", server, "-j", "DROP"];
    this.#rules = darkness === "both" ? [to, from] : darkness === "to-connector" ? [to] : [from];
    for (const rule of this.#rules) await this.namespace.run("iptables", "-w", "-A", ...rule);
  }

  async lighten(): Promise<void> {
    for (const rule of this.#rules) await this.namespace.run("iptables", "-w", "-D", ...rule);
  }

  async status(role: RoleProcess, name: string) {
    const { stdout } = await runPostern(["status", "--json", "--role", name], this.gateway.folder, {
      XDG_RUNTIME_DIR: role.runtimeFolder,
    });
    return JSON.parse(stdout);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

async function eventually(holds: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + PATIENCE.ms;
  while (!await holds()) {
    if (performance.now() > deadline) throw new Error(`it never came to this: ${holds}`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

/** Goes dark under a running connection and shows that it goes on by the server, with lines of every size. */
async function outlivesDarkness(pair: DirectPair, darkness: Darkness): Promise<Conversation> {
  const conversation = await pair.converseDirectly();
  const { agent, connector } = pair.gateway;
  const datagrams = pair.converseInDatagrams();
  const port = await datagrams.say("directly");
  await pair.darken(darkness);
  const answered = conversation.say("in-the-dark");
  answered.catch(() => {});
  await agent.until("direct-detour", { service: "web" }, PATIENCE);
  assert(await answered);
  assert(await conversation.say("0123456789abcdef", 20_000));
  // The same flow: the service hears it from where it did.
  for (const word of ["in-the-dark", "0123456789".repeat(100)]) assertEquals(await datagrams.say(word), port);
  await eventually(async () => {
    const { route } = (await pair.status(agent, "agent")).services[0];
    return route.startsWith("relay (") && route.endsWith("by the server too)");
  });
  await eventually(async () => (await pair.status(connector, "connector")).peers[0]?.remote_addr === "by the server");
  // What is new goes by the server too.
  assert(await pair.converse().say("new"));
  return conversation;
}

async function oneDirection(darkness: Darkness): Promise<void> {
  await using pair = await DirectPair.start();
  await outlivesDarkness(pair, darkness);
  assertEquals(pair.gateway.agent.linesOf("direct-closed"), []);
}

async function thereAndBack(): Promise<void> {
  await using pair = await DirectPair.start();
  const conversation = await outlivesDarkness(pair, "both");
  await pair.lighten();
  const { agent, server } = pair.gateway;
  await agent.until("direct-back", { service: "web" }, PATIENCE);
  await eventually(async () => (await pair.status(agent, "agent")).services[0].route.startsWith("direct "));
  // Without the server only the direct path can carry it, and what is new.
  await server.stop("SIGKILL");
  assert(await conversation.say("0123456789abcdef", 20_000));
  await eventually(() => pair.converse().say("new").catch(() => false));
  assertEquals(agent.linesOf("direct-closed"), []);
}

Deno.test(
  needing(
    NEEDS,
    "a direct path that goes dark, in one direction or both, costs no connection, and carries them again",
    async () => {
      // Most of it is waiting: at the same time.
      const ends = await Promise.allSettled([oneDirection("to-connector"), oneDirection("to-agent"), thereAndBack()]);
      for (const end of ends) if (end.status === "rejected") throw end.reason;
    },
  ),
);
