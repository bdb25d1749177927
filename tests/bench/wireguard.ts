/**
 * What packets are compared with: two hosts on one wire, and two hosts that meet at a hub of wireguard-go, each in a network
 * namespace of its own.
 *
 *   client ──veth── hub ──veth── server        wg: 10.9.0.1 ─► hub 10.9.0.2 ─► 10.9.0.3
 */
import { Buffer } from "node:buffer";
import { Namespace } from "../e2e/tun_fixture.ts";
import type { Starter } from "./iperf.ts";

const LISTEN_PORT = 51_820;
const PKCS8_KEY_BYTES = 32;

/** Two namespaces with one veth between them. */
export class BareWire implements AsyncDisposable {
  readonly address = "10.8.0.2";
  readonly #ends: readonly [Namespace, Namespace];

  private constructor(ends: readonly [Namespace, Namespace]) {
    this.#ends = ends;
  }

  static async open(): Promise<BareWire> {
    const client = await Namespace.open(), server = await Namespace.open();
    await wire(client, "10.8.0.1", server, "10.8.0.2");
    return new BareWire([client, server]);
  }

  readonly client: Starter = (program, ...args) => this.#ends[0].command(program, ...args);
  readonly server: Starter = (program, ...args) => this.#ends[1].command(program, ...args);

  async [Symbol.asyncDispose](): Promise<void> {
    for (const end of this.#ends) await end[Symbol.asyncDispose]();
  }
}

interface WireguardKey {
  readonly private: string;
  readonly public: string;
}

/** A peer as the daemon is told: its inner network, and where it is, if it is us who must know. */
interface WireguardPeer {
  readonly key: string;
  readonly allowed: string;
  readonly endpoint?: string;
}

/** Client, hub and server. */
export class WireguardHub implements AsyncDisposable {
  readonly address = "10.9.0.3";
  /** Of client, hub, server. */
  readonly pids: readonly number[];
  readonly #hosts: readonly Namespace[];
  readonly #daemons: readonly Deno.ChildProcess[];

  private constructor(hosts: readonly Namespace[], daemons: readonly Deno.ChildProcess[]) {
    this.#hosts = hosts;
    this.#daemons = daemons;
    this.pids = daemons.map(({ pid }) => pid);
  }

  readonly client: Starter = (program, ...args) => this.#host(0).command(program, ...args);
  readonly server: Starter = (program, ...args) => this.#host(2).command(program, ...args);

  static async open(program: string): Promise<WireguardHub> {
    const client = await Namespace.open(), hub = await Namespace.open(), server = await Namespace.open();
    await wire(client, "10.8.1.1", hub, "10.8.1.2");
    await wire(server, "10.8.2.1", hub, "10.8.2.2");
    await hub.run("sh", "-ec", "echo 1 >/proc/sys/net/ipv4/ip_forward");
    const keys = [await newKey(), await newKey(), await newKey()] as const;
    const daemons = [
      await daemon(program, client, "10.9.0.1", keys[0], [
        { key: keys[1].public, allowed: "10.9.0.0/24", endpoint: `10.8.1.2:${LISTEN_PORT}` },
      ]),
      await daemon(program, hub, "10.9.0.2", keys[1], [
        { key: keys[0].public, allowed: "10.9.0.1/32" },
        { key: keys[2].public, allowed: "10.9.0.3/32", endpoint: `10.8.2.1:${LISTEN_PORT}` },
      ]),
      await daemon(program, server, "10.9.0.3", keys[2], [
        { key: keys[1].public, allowed: "10.9.0.0/24", endpoint: `10.8.2.2:${LISTEN_PORT}` },
      ]),
    ];
    return new WireguardHub([client, hub, server], daemons);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const process of this.#daemons) {
      process.kill("SIGTERM");
      await process.status;
    }
    for (const host of this.#hosts) await host[Symbol.asyncDispose]();
  }

  #host(index: number): Namespace {
    const host = this.#hosts[index];
    if (host === undefined) throw new Error("no such host");
    return host;
  }
}

/** A veth between two namespaces, with an address at each end. */
async function wire(a: Namespace, aAddress: string, b: Namespace, bAddress: string): Promise<void> {
  const name = `veth${a.pid}`;
  await a.run("ip", "link", "add", name, "type", "veth", "peer", "name", name, "netns", `${b.pid}`);
  for (const [host, address] of [[a, aAddress], [b, bAddress]] as const) {
    await host.run("ip", "addr", "add", `${address}/24`, "dev", name);
    await host.run("ip", "link", "set", name, "up");
    await host.run("ip", "link", "set", "lo", "up");
  }
}

/** Starts a daemon in the foreground and configures it through its socket. */
async function daemon(
  program: string,
  host: Namespace,
  address: string,
  key: WireguardKey,
  peers: readonly WireguardPeer[],
): Promise<Deno.ChildProcess> {
  // Its socket's name is the device's, in a folder that all namespaces share.
  const device = `wg${host.pid}`;
  const process = new Deno.Command("nsenter", {
    args: [`--net=/proc/${host.pid}/ns/net`, program, "--foreground", device],
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  const lines = [
    "set=1",
    `private_key=${key.private}`,
    `listen_port=${LISTEN_PORT}`,
    ...peers.flatMap(({ key, allowed, endpoint }) => [
      `public_key=${key}`,
      ...(endpoint === undefined ? [] : [`endpoint=${endpoint}`]),
      `allowed_ip=${allowed}`,
    ]),
  ];
  const answer = await ask(`/var/run/wireguard/${device}.sock`, `${lines.join("\n")}\n\n`);
  if (!answer.startsWith("errno=0")) throw new Error(`wireguard-go does not take its configuration: ${answer}`);
  await host.run("ip", "addr", "add", `${address}/24`, "dev", device);
  await host.run("ip", "link", "set", device, "up");
  return process;
}

async function ask(path: string, text: string): Promise<string> {
  for (let tries = 0;; tries++) {
    try {
      using connection = await Deno.connect({ transport: "unix", path });
      await connection.write(new TextEncoder().encode(text));
      const answer = new Uint8Array(1024);
      return new TextDecoder().decode(answer.subarray(0, await connection.read(answer) ?? 0));
    } catch (error) {
      if (tries === 100) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

async function newKey(): Promise<WireguardKey> {
  const pair = await crypto.subtle.generateKey("X25519", true, ["deriveBits"]) as CryptoKeyPair;
  const hex = (bytes: ArrayBuffer) => Buffer.from(bytes).toString("hex");
  const wrapped = await crypto.subtle.exportKey("pkcs8", pair.privateKey);
  return {
    private: hex(wrapped.slice(-PKCS8_KEY_BYTES)),
    public: hex(await crypto.subtle.exportKey("raw", pair.publicKey)),
  };
}
