/**
 * The gateway of the `kills` run: a server and two connectors, of which the first is killed like the server and the other never, and an
 * agent with ways to all services; a supervisor for those that are killed; and the traffic of one round.
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { exchange, type TransferEnd } from "../../e2e/bad_path_fixture.ts";
import { Gateway } from "../../e2e/gateway_fixture.ts";
import type { CertificateFiles } from "../../e2e/pki_fixture.ts";
import type { RoleProcess } from "../../e2e/processes_fixture.ts";
import { Backend, close, drain, echo, isClosed, isReset, Pattern, sleep, within } from "../../e2e/tcp_fixture.ts";
import { UdpBackend, UdpClient } from "../../e2e/udp_fixture.ts";

export type Victim = "server" | "connector";

/** A process that outlived a round. */
export interface Survivor {
  readonly descriptorsBefore: number;
  readonly descriptors: number;
}

export interface Round {
  /** From the kill until the new process said that it is ready: the supervisor's pause, and what a busy machine takes. */
  readonly readyMs: number;
  /** From the kill until every service had done new work. */
  readonly backMs: number;
  /** From the kill until the last transfer through the dead process ended. */
  readonly toldMs: number;
  /** Datagrams that were answered. */
  readonly datagrams: number;
  readonly wrong: readonly string[];
}

const LOOPBACK = "127.0.0.1";
/** `web` and `dns` are served by the one that is killed, `other` by the other one. */
const TCP_SERVICES = ["web", "other"] as const;
/** A program that heard nothing for so long connects anew. */
const PATIENCE_MS = 1_500;
/** What lasts longer hangs: a dead peer is noticed by the idle time at the latest (WIRE 2.6), whatever else tells of it. */
const HANG_MS = 90_000;
const SETTLE_MS = 20_000, DESCRIPTORS_LEFT = 4;
const PROBE_BYTES = 50_000;
const CHUNK_PACE_MS = 5, DATAGRAM_PACE_MS = 10;

export class KillWorld implements AsyncDisposable {
  readonly agent: RoleProcess;
  /** Never killed. */
  readonly other: RoleProcess;
  readonly #gateway: Gateway;
  readonly #stack: AsyncDisposableStack;
  readonly #start: { readonly [V in Victim]: () => Promise<RoleProcess> };
  readonly #ports: Readonly<Record<string, number>>;
  readonly #alive: Record<Victim, RoleProcess>;
  /** Descriptors after the first round of a process. */
  readonly #before = new Map<RoleProcess, number>();

  private constructor(parts: {
    readonly gateway: Gateway;
    readonly stack: AsyncDisposableStack;
    readonly agent: RoleProcess;
    readonly other: RoleProcess;
    readonly ports: readonly number[];
    readonly start: { readonly [V in Victim]: () => Promise<RoleProcess> };
    readonly alive: Record<Victim, RoleProcess>;
  }) {
    const [web = 0, other = 0, dns = 0] = parts.ports;
    this.#gateway = parts.gateway;
    this.#stack = parts.stack;
    this.agent = parts.agent;
    this.other = parts.other;
    this.#ports = { web, other, dns };
    this.#start = parts.start;
    this.#alive = parts.alive;
  }

  static async start(): Promise<KillWorld> {
    await using stack = new AsyncDisposableStack();
    const [web, other, dns] = [stack.use(new Backend(echo)), stack.use(new Backend(echo)), stack.use(await UdpBackend.start())];
    const gateway = stack.use(await Gateway.empty());
    const { pki } = gateway;
    const issue = (name: string, ...dns: string[]) => pki.issue(name, { dns, eku: ["clientAuth"] });
    const files = await Promise.all([
      issue("killed-connector", "connector.web.ztna", "connector.dns.ztna"),
      issue("other-connector", "connector.other.ztna"),
      issue("kill-agent", "agent.web.ztna", "agent.dns.ztna", "agent.other.ztna"),
    ]);
    const startServer = () => gateway.startServer("--retry-key-file", join(gateway.folder, "address.keys"));
    const connect = (files: CertificateFiles, ...services: string[]) => {
      const offers = services.flatMap((service) => ["--service", service]);
      return gateway.run(["connector", ...offers, "--health", "off", ...gateway.uplinkFlags(files)]);
    };
    const startConnector = () =>
      Promise.resolve(connect(files[0], `web=${LOOPBACK}:${web.port}`, `dns=${LOOPBACK}:${dns.port}/udp`));
    const alive = { server: await startServer(), connector: await startConnector() };
    const otherConnector = connect(files[1], `other=${LOOPBACK}:${other.port}`);
    const ways = ["web", "other", "dns/udp"].flatMap((way) => ["--forward", `${LOOPBACK}:0=${way}`]);
    const agent = gateway.run(["agent", ...ways, ...gateway.uplinkFlags(files[2])]);
    for (const service of ["web", "dns"]) await alive.connector.until("registered", { service });
    await otherConnector.until("registered", { service: "other" });
    await agent.until("uplink-connected");
    const start = { server: startServer, connector: startConnector };
    const ports = await agent.ports();
    return new KillWorld({ gateway, stack: stack.move(), agent, other: otherConnector, ports, start, alive });
  }

  /** Kills, starts again, and watches what comes of it. The times are counted from the begin of the traffic and from the kill. */
  async play(victim: Victim, momentMs: number, supervisorMs: number, seed: number): Promise<Round> {
    const transfers = await Promise.all(TCP_SERVICES.map(async (service, i) => {
      const isDoomed = victim === "server" || service === "web";
      return { service, isDoomed, transfer: new Endless(await this.#connect(service), seed * 2 + i) };
    }));
    using datagrams = new Datagrams(this.#port("dns"));
    await sleep(momentMs);
    const killedMs = performance.now();
    await this.#alive[victim].stop("SIGKILL");
    const told = Promise.all(transfers.filter(({ isDoomed }) => isDoomed).map(({ transfer }) => transfer.end))
      .then(() => performance.now() - killedMs);
    await sleep(supervisorMs);
    const started = await this.#start[victim]();
    this.#alive[victim] = started;
    await started.until("ready");
    const readyMs = performance.now() - killedMs;
    await Promise.all([...TCP_SERVICES.map((service) => this.#works(service, seed)), this.#answers(`again ${seed}`)]);
    const backMs = performance.now() - killedMs;
    for (const { isDoomed, transfer } of transfers) if (!isDoomed) transfer.finish();
    const toldMs = await within(HANG_MS, "the end of a transfer whose process died", told);
    const wrong: string[] = [...datagrams.strays()];
    for (const { service, isDoomed, transfer } of transfers) {
      const end = await within(HANG_MS, "the end of a transfer", transfer.end);
      if (end !== (isDoomed ? "reset" : "intact")) wrong.push(`seed ${seed}: ${service} ended ${end}`);
    }
    await this.#settle();
    return { readyMs, backMs, toldMs, datagrams: datagrams.answered, wrong };
  }

  /** Those that live now, and when they rested first. */
  survivors(): Survivor[] {
    return this.#roles().map((role) => {
      const descriptors = role.descriptors();
      return { descriptorsBefore: this.#before.get(role) ?? descriptors, descriptors };
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }

  #roles(): RoleProcess[] {
    return [this.agent, this.other, this.#alive.server, this.#alive.connector];
  }

  #port(service: string): number {
    return this.#ports[service] ?? 0;
  }

  #connect(service: string): Promise<Deno.TcpConn> {
    return Deno.connect({ hostname: LOOPBACK, port: this.#port(service) });
  }

  /** Waits until a new connection to the service carries its bytes. */
  async #works(service: string, seed: number): Promise<void> {
    const deadline = performance.now() + HANG_MS;
    for (;;) {
      const end = await this.#attempt(service, seed);
      if (end === "intact") return;
      if (performance.now() > deadline) throw new Error(`${service} does not work again: ${end}\n${this.#tails()}`);
      await sleep(100);
    }
  }

  /** As a program that gives up soon. The reset may come before the connection is in its hands. */
  async #attempt(service: string, seed: number): Promise<TransferEnd | "silence"> {
    try {
      using client = await this.#connect(service);
      return await within(PATIENCE_MS, service, exchange(client, PROBE_BYTES, seed)).catch(() => "silence");
    } catch (error) {
      if (isReset(error) || error instanceof Deno.errors.NotConnected) return "reset";
      throw error;
    }
  }

  /** Waits until a new client of the UDP service gets an answer. */
  async #answers(question: string): Promise<void> {
    for (let tries = 0;; tries++) {
      using client = new UdpClient(this.#port("dns"));
      const heard = await client.hear(question).catch(() => null);
      if (heard !== null) return;
      if (tries >= 3) throw new Error(`dns does not answer again\n${this.#tails()}`);
    }
  }

  /** Waits until connections that ended are cleaned up; what stays is for the report. */
  async #settle(): Promise<void> {
    for (const role of this.#roles()) {
      const before = this.#before.get(role);
      const deadline = performance.now() + SETTLE_MS;
      while (before !== undefined && role.descriptors() > before + DESCRIPTORS_LEFT && performance.now() < deadline) {
        await sleep(200);
      }
      if (before === undefined) this.#before.set(role, role.descriptors());
    }
  }

  #tails(): string {
    return this.#roles().map((role) => role.tail()).join("\n--\n");
  }
}

/** A transfer that goes on, both ways, until it is told to finish or is reset. */
class Endless {
  /** What became of it. */
  readonly end: Promise<TransferEnd>;
  #isFinishing = false;

  constructor(client: Deno.TcpConn, seed: number) {
    this.end = this.#run(client, seed).finally(() => close(client));
  }

  finish(): void {
    this.#isFinishing = true;
  }

  async #run(client: Deno.TcpConn, seed: number): Promise<TransferEnd> {
    const sent = createHash("sha256"), got = createHash("sha256");
    let sentBytes = 0, gotBytes = 0;
    const writing = (async () => {
      const pattern = new Pattern(seed);
      while (!this.#isFinishing) {
        const chunk = pattern.next().slice();
        for (let at = 0; at < chunk.length;) at += await client.write(chunk.subarray(at));
        sent.update(chunk);
        sentBytes += chunk.length;
        await sleep(CHUNK_PACE_MS);
      }
      await client.closeWrite();
    })().catch((error: unknown) => {
      if (!isReset(error) && !isClosed(error) && !(error instanceof Deno.errors.NotConnected)) throw error;
    });
    const end = await drain(client, (chunk) => {
      got.update(chunk);
      gotBytes += chunk.length;
    });
    this.#isFinishing = true;
    // Whoever could still be writing is told by this.
    if (end === "reset") close(client);
    await writing;
    if (end === "reset") return "reset";
    return sentBytes === gotBytes && sent.digest("hex") === got.digest("hex") ? "intact" : "cut";
  }
}

/** A client that asks all the time, and does not wait for answers. */
class Datagrams implements Disposable {
  readonly #client: UdpClient;
  readonly #timer: number;
  #asked = 0;
  #isOver = false;

  constructor(port: number) {
    this.#client = new UdpClient(port);
    // A call that is due already comes even when the timer has been cleared.
    this.#timer = setInterval(() => {
      if (!this.#isOver) this.#client.send(`question ${this.#asked++}`);
    }, DATAGRAM_PACE_MS);
  }

  get answered(): number {
    return this.#client.received.length;
  }

  /** Answers to what nobody asked. */
  strays(): string[] {
    const texts = this.#client.received.map((bytes) => new TextDecoder().decode(bytes));
    return texts.filter((text) => !/^re: question \d+$/.test(text) || Number(text.slice(13)) >= this.#asked);
  }

  [Symbol.dispose](): void {
    this.#isOver = true;
    clearInterval(this.#timer);
    this.#client[Symbol.dispose]();
  }
}
