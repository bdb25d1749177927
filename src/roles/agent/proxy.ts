/**
 * The agent's proxy: one port for SOCKS5 and HTTP CONNECT, whose clients name the service that they want. What is not a service is
 * refused here: no name is looked up and no address is dialled.
 */
import type { ProxyTarget } from "../../core/wire/mod.ts";
import { type IpEndpoint, readSockaddr, TcpListener } from "../../io/mod.ts";
import type { ProxyPlan } from "../control/mod.ts";
import type { DatagramContext } from "./local_datagrams.ts";
import type { LocalConnections } from "./local_connections.ts";
import { ProxyAssociations } from "./proxy_associations.ts";
import { PROXY_CHUNK_BYTES, ProxyClient, type ProxyContext } from "./proxy_client.ts";
import { serviceOfHost, type TargetRules } from "./proxy_target.ts";
import { PROXY_CLIENTS_MAX } from "./limits.ts";

export interface ProxyOptions {
  readonly datagrams: DatagramContext;
  readonly connections: LocalConnections;
  readonly rules: TargetRules;
}

export class Proxy {
  readonly #options: ProxyOptions;
  readonly #context: ProxyContext;
  readonly #listener: TcpListener;
  readonly #associations: ProxyAssociations;
  /** Those that are not joined to a service: they have not asked yet, wait for the answer, or send datagrams. */
  readonly #clients = new Set<ProxyClient>();

  /** Binds. Throws a PosternError that names the address. */
  constructor(options: ProxyOptions, plan: ProxyPlan) {
    this.#options = options;
    const { plane, count } = options.datagrams;
    const { reactor, layout } = plane.platform;
    const serviceOf = (host: string) => serviceOfHost(host, options.rules);
    this.#associations = new ProxyAssociations(options.datagrams, plan.listen.address, serviceOf);
    this.#context = {
      reactor,
      chunkAt: layout.reserve(PROXY_CHUNK_BYTES),
      count,
      connect: (client, target) => this.#connect(client, target),
      associate: (client, target) => this.#associations.open(client, target),
      onGone: (client) => {
        this.#clients.delete(client);
        this.#associations.close(client);
      },
    };
    this.#listener = new TcpListener(reactor, layout, plan.listen, (fd, peerSlot) => this.#accept(fd, peerSlot));
  }

  get bound(): IpEndpoint {
    return this.#listener.bound;
  }

  /** Where associated clients send their datagrams. */
  get boundUdp(): IpEndpoint {
    return this.#associations.bound;
  }

  close(): void {
    this.#listener.close();
    for (const client of [...this.#clients]) client.abort();
    this.#associations.closeAll();
  }

  #accept(fd: number, peerSlot: number): void {
    const { reactor } = this.#context;
    const from = readSockaddr(reactor.libc.arena, peerSlot);
    if (from === null || this.#clients.size >= PROXY_CLIENTS_MAX) {
      this.#context.count("tooMany", 1);
      reactor.libc.setLingerZero(fd);
      reactor.libc.close(fd);
      return;
    }
    this.#context.count("proxyClients", 1);
    const client = new ProxyClient(this.#context, fd, from.address);
    if (client.socket !== null) this.#clients.add(client);
  }

  #connect(client: ProxyClient, { host, port }: ProxyTarget) {
    const { connections, rules } = this.#options;
    const service = serviceOfHost(host, rules);
    if (service === null) return null;
    return connections.begin(service, port, client, this.#context.reactor.nowMs);
  }
}
