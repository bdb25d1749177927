/**
 * A small internet of network namespaces: a public network where the server stands, and hosts on it or behind routers whose NAT is
 * of one kind. The routers are Linux's own. Needs root.
 *
 *   server ── public network ── router (NAT) ── host        host ── public network
 */
import { Namespace } from "./tun_fixture.ts";

/** What such tests ask of the machine. */
export const NAT_NEEDS = {
  root: true,
  tools: ["unshare", "nsenter", "ip", "iptables", "ip6tables", "python3", "curl"],
  files: ["dist/postern"],
};

/**
 * `public`: none. `cone`: every port leads to the one host, to whoever asks. `restricted`: what the host sends keeps its port, and
 * only who was sent something may answer. `symmetric`: another outside port for every destination.
 */
export type NatKind = typeof NAT_KINDS[number];

export const NAT_KINDS = ["public", "cone", "restricted", "symmetric"] as const;
export const SERVER_ADDRESS = "203.0.113.1";
export const SERVER_ADDRESS6 = "2001:db8::1";

export class SmallInternet implements AsyncDisposable {
  readonly server: Namespace;
  readonly #stack = new AsyncDisposableStack();
  #links = 0;
  #hosts = 0;

  private constructor(server: Namespace) {
    this.server = this.#stack.use(server);
  }

  static async open(): Promise<SmallInternet> {
    const internet = new SmallInternet(await Namespace.open());
    const { server } = internet;
    await server.run("ip", "link", "set", "lo", "up");
    await bridge(server, `${SERVER_ADDRESS}/24`);
    return internet;
  }

  /** Hosts that share one router, or stand on the public network each. */
  async hosts(kind: NatKind, count: number): Promise<Namespace[]> {
    if (kind === "public") return await Promise.all(Array.from({ length: count }, () => this.#publicHost()));
    const outside = this.#nextPublic();
    const router = await this.#namespace();
    await this.#join(this.server, router, "wan", outside);
    const hosts = await this.#behind(router, "10.0.0", count);
    const nat = async (...rule: readonly string[]) => void await router.run("iptables", "-w", "-t", "nat", "-A", ...rule);
    if (kind === "symmetric") await nat("POSTROUTING", "-o", "wan", "-j", "MASQUERADE", "--random-fully");
    else await nat("POSTROUTING", "-o", "wan", "-j", "SNAT", "--to-source", outside.replace("/24", ""));
    if (kind === "cone") await nat("PREROUTING", "-i", "wan", "-p", "udp", "-j", "DNAT", "--to-destination", "10.0.0.2");
    // As routers do: what nobody asked for is dropped, and leaves no trace that would take a port.
    await router.run("iptables", "-w", "-A", "INPUT", "-i", "wan", "-j", "DROP");
    return hosts;
  }

  /** Hosts that share a router which itself stands behind another one with a NAT of this kind. */
  async hostsBehindTwo(kind: NatKind, count: number): Promise<Namespace[]> {
    const [router] = await this.hosts(kind, 1);
    if (router === undefined) throw new Error("no router");
    const hosts = await this.#behind(router, "10.0.1", count);
    await router.run("iptables", "-w", "-t", "nat", "-A", "POSTROUTING", "-o", "eth0", "-j", "MASQUERADE");
    return hosts;
  }

  /** A host of IPv6 whose router translates nothing and lets in only what answers. */
  async hostBehindFirewall(): Promise<Namespace> {
    const number = ++this.#hosts;
    const outside = `2001:db8::${number + 1}`, prefix = `2001:db8:${number}:`;
    if (number === 1) await this.server.run("ip", "addr", "add", `${SERVER_ADDRESS6}/64`, "dev", "lan", "nodad");
    const router = await this.#namespace();
    await this.#join(this.server, router, "wan", `${outside}/64`);
    await bridge(router, `${prefix}:1/64`);
    await router.run("sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding");
    const host = await this.#namespace();
    await this.#join(router, host, "eth0", `${prefix}:2/64`);
    await host.run("ip", "route", "add", "default", "via", `${prefix}:1`);
    // Hosts of the public network know each other's prefixes, as routers of the internet do.
    const server = this.server;
    await server.run("sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding");
    await server.run("ip", "route", "add", `${prefix}:/64`, "via", outside);
    await router.run("ip", "route", "add", "default", "via", SERVER_ADDRESS6);
    const letIn = async (...rule: readonly string[]) => void await router.run("ip6tables", "-w", "-A", "FORWARD", ...rule);
    await letIn("-i", "lan", "-j", "ACCEPT");
    await letIn("-m", "conntrack", "--ctstate", "ESTABLISHED", "-j", "ACCEPT");
    await letIn("-j", "DROP");
    return host;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }

  async #behind(router: Namespace, network: string, count: number): Promise<Namespace[]> {
    await bridge(router, `${network}.1/24`);
    await router.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward");
    const hosts: Namespace[] = [];
    for (let i = 0; i < count; i++) {
      const host = await this.#namespace();
      await this.#join(router, host, "eth0", `${network}.${i + 2}/24`);
      await host.run("ip", "route", "add", "default", "via", `${network}.1`);
      hosts.push(host);
    }
    return hosts;
  }

  async #publicHost(): Promise<Namespace> {
    const host = await this.#namespace();
    await this.#join(this.server, host, "eth0", this.#nextPublic());
    return host;
  }

  async #namespace(): Promise<Namespace> {
    const namespace = this.#stack.use(await Namespace.open());
    await namespace.run("ip", "link", "set", "lo", "up");
    return namespace;
  }

  #nextPublic(): string {
    this.#hosts++;
    return `203.0.113.${this.#hosts + 1}/24`;
  }

  /** A cable from the bridge of one namespace to a device of another. */
  async #join(from: Namespace, to: Namespace, device: string, address: string): Promise<void> {
    const port = `port${this.#links++}`;
    await from.run("ip", "link", "add", port, "type", "veth", "peer", "name", device, "netns", `${to.pid}`);
    await from.run("ip", "link", "set", port, "master", "lan", "up");
    await to.run("ip", "addr", "add", address, "dev", device, ...nodad(address));
    await to.run("ip", "link", "set", device, "up");
  }
}

/** An address of IPv6 can be used at once: nobody else has it. */
function nodad(address: string): string[] {
  return address.includes(":") ? ["nodad"] : [];
}

async function bridge(namespace: Namespace, address: string): Promise<void> {
  await namespace.run("ip", "link", "add", "lan", "type", "bridge");
  await namespace.run("ip", "addr", "add", address, "dev", "lan", ...nodad(address));
  await namespace.run("ip", "link", "set", "lan", "up");
}
