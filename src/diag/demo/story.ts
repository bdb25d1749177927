/**
 * The demonstration, step by step: certificates, four processes, a page, bytes in both directions, a half-close, two agents that
 * are turned away, a picture.
 */
import { type Child, type Crew, DemoFailure, within } from "./crew.ts";
import { formatBytes, formatMs, formatRate, shortDigest } from "./format.ts";
import { refuseNoCertificate, refuseWrongName } from "./intruders.ts";
import { measureFirstByte, measureRoundTrip } from "./measure.ts";
import { fetchPage, PAGE } from "./page.ts";
import { Pattern } from "./pattern.ts";
import { drawPicture, type Measured } from "./picture.ts";
import type { Screen, Step } from "./screen.ts";
import type { DemoFolder } from "./settings.ts";
import { fetchFromService, halfClose, sendToService, type Transfer } from "./transfer.ts";

/** For a step: longer than what is waited for in it. */
const STEP_MS = 90_000;
const FIRST_BYTE_TRIALS = 50;
const ROUND_TRIP_TRIALS = 200;
const HALF_CLOSE_BYTES = 1024 * 1024;

export interface DemoOptions {
  /** Moved in each direction. */
  readonly sizeBytes: number;
  /** Leave everything running. */
  readonly isKept: boolean;
  readonly environment: Readonly<Record<string, string>>;
  /** Milliseconds since the epoch. */
  readonly nowMs: number;
}

/** What was found, for machines. */
export interface DemoReport extends Measured {
  readonly startMs: Readonly<Record<"server" | "connector" | "agent", number>>;
  readonly pageBytes: number;
  readonly refused: { readonly noCertificate: string; readonly wrongName: string };
}

export class Story {
  readonly #options: DemoOptions;
  readonly #screen: Screen;
  readonly #folder: DemoFolder;
  readonly #crew: Crew;
  #serverPort = 0;
  #ports = { web: 0, data: 0 };

  constructor(options: DemoOptions, screen: Screen, folder: DemoFolder, crew: Crew) {
    this.#options = options;
    this.#screen = screen;
    this.#folder = folder;
    this.#crew = crew;
  }

  async run(): Promise<DemoReport> {
    const screen = this.#screen;
    screen.line(screen.paint.bold("Postern: an agent, a server and a connector on this machine, each a process of its own"));
    screen.line();
    const { server, connector, agent } = await this.#startAll();
    const handshakes = { agent: handshakeOf(agent), connector: handshakeOf(connector) };
    const pageBytes = await this.#fetchPage();
    const firstByte = await this.#measure("first byte", () => measureFirstByte(this.#ports.data, FIRST_BYTE_TRIALS));
    const roundTrip = await this.#measure("round trip", () => measureRoundTrip(this.#ports.data, ROUND_TRIP_TRIALS));
    const { toService, fromService } = await this.#moveBytes();
    await this.#halfClose();
    const refused = await this.#refuse();
    const report: DemoReport = {
      startMs: { server: server.ms, connector: connector.ms, agent: agent.ms },
      handshakeMs: { agent: handshakes.agent.ms, connector: handshakes.connector.ms },
      ...handshakes.agent.terms,
      ...{ pageBytes, firstByte, roundTrip, toService, fromService, refused },
    };
    screen.line();
    for (const line of drawPicture(report)) screen.line(` ${line}`);
    screen.line();
    return report;
  }

  /** Ends all processes; each must end by itself. */
  async stop(): Promise<void> {
    await this.#step("stop", async () => {
      const [stubborn] = await this.#crew.stop();
      if (stubborn !== undefined) throw new DemoFailure(`the ${stubborn.name} did not end when it was asked to`, stubborn);
      return [null, "every process has ended when it was asked to"];
    });
  }

  tellHowToUse(): void {
    const { bold, cyan } = this.#screen.paint;
    const { web } = this.#ports;
    const at = this.#folder.path;
    const postern = Deno.build.standalone ? Deno.execPath() : "postern";
    const rows = [
      ["page", cyan(`curl http://127.0.0.1:${web}/`)],
      ["status", cyan(`XDG_RUNTIME_DIR=${at} ${postern} status`)],
      ["settings", `${at}/{server,connector,agent}.json`],
      ["certificates", `${at}/pki`],
      ["logs", `${at}/{server,connector,agent,services}.log`],
      ["stop", cyan(`kill ${this.#crew.pids.join(" ")} && rm -r ${at}`)],
    ];
    this.#screen.line(bold("Everything is left running:"));
    for (const [name = "", text] of rows) this.#screen.line(`  ${name.padEnd(14)} ${text}`);
    this.#screen.line();
  }

  async #startAll(): Promise<Readonly<Record<"server" | "connector" | "agent", Started>>> {
    const [crew, folder] = [this.#crew, this.#folder];
    const services = crew.start("services", ["demo", "--services"], true);
    await this.#step("certificates", async () => {
      const count = await folder.createPki(this.#options.nowMs);
      return [null, `${count}, made for this run`];
    });
    const server = await this.#step("server", async () => {
      const started = await whenReady(crew.start("server", await folder.writeServer(), true));
      this.#serverPort = started.ports[0] ?? 0;
      return [started, `listens on UDP port ${this.#serverPort}, ready after ${formatMs(started.ms)}`];
    });
    // The other two start together; each is shown when it has what it needs.
    const backendPorts = await crew.guard(services.ports());
    const connecting = whenReady(crew.start("connector", await folder.writeConnector(this.#serverPort, backendPorts), true));
    const dialling = whenReady(crew.start("agent", await folder.writeAgent(this.#serverPort), true));
    for (const both of [connecting, dialling]) both.catch(() => {});
    const connector = await this.#step("connector", async () => {
      const started = await connecting;
      await started.child.until("uplink-connected");
      await Promise.all(["web", "data"].map((service) => started.child.until("registered", { service })));
      return [started, "dialled out and offers the services web and data; it listens nowhere"];
    });
    const agent = await this.#step("agent", async () => {
      const started = await dialling;
      await started.child.until("uplink-connected");
      const [web = 0, data = 0] = started.ports;
      this.#ports = { web, data };
      return [started, `127.0.0.1:${web} is web, 127.0.0.1:${data} is data`];
    });
    return { server, connector, agent };
  }

  /** One step. It ends when a process ends that should not, when somebody presses Ctrl-C, and when it takes too long. */
  async #step<T>(name: string, work: (step: Step) => Promise<readonly [value: T, detail: string]>): Promise<T> {
    const late = () => new DemoFailure(`the step "${name}" did not end within ${STEP_MS / 1000} s`);
    return await this.#screen.step(name, (step) => this.#crew.guard(within(work(step), STEP_MS, late)));
  }

  /** A step that moves many bytes: how long it takes is its own affair. */
  async #move(
    name: string,
    end: string,
    sha256: string,
    work: (onBytes: (bytes: number) => void) => Promise<Transfer>,
  ): Promise<Transfer> {
    const { sizeBytes } = this.#options;
    return await this.#screen.step(name, async ({ progress }) => {
      progress(0, sizeBytes);
      const transfer = await this.#crew.guard(work((bytes) => progress(bytes, sizeBytes)));
      const { bytes, ms } = transfer;
      if (bytes !== sizeBytes) throw new DemoFailure(`${bytes} of ${sizeBytes} bytes came to ${end}`);
      if (transfer.sha256 !== sha256) throw new DemoFailure(`SHA-256 differs at ${end}: ${transfer.sha256} instead of ${sha256}`);
      return [transfer, `SHA-256 ${shortDigest(sha256)} at ${end}, ${formatRate(bytes, ms)}`];
    });
  }

  async #fetchPage(): Promise<number> {
    return await this.#step("page", async () => {
      const { status, body, ms } = await fetchPage(this.#ports.web);
      if (status !== 200) throw new DemoFailure(`the page came with HTTP status ${status}`);
      if (body !== PAGE) throw new DemoFailure("the page is not the one that the service sent");
      return [body.length, `HTTP ${status}, ${formatBytes(body.length)} as the service sent them, ${formatMs(ms)}`];
    });
  }

  async #measure<T extends { readonly count: number; readonly p50Ms: number; readonly p99Ms: number }>(
    name: string,
    work: () => Promise<T>,
  ): Promise<T> {
    return await this.#step(name, async () => {
      const times = await work();
      return [times, `p50 ${formatMs(times.p50Ms)}, p99 ${formatMs(times.p99Ms)}, ${times.count} times`];
    });
  }

  async #moveBytes(): Promise<{ readonly toService: Transfer; readonly fromService: Transfer }> {
    const { sizeBytes } = this.#options;
    const { data } = this.#ports;
    const [seed = 1] = crypto.getRandomValues(new Uint32Array(1));
    const pattern = new Pattern(seed, sizeBytes);
    const sha256 = await this.#screen.step("random bytes", async ({ progress }) => {
      const digest = await this.#crew.guard(pattern.digest((bytes) => progress(bytes, sizeBytes, "quiet")));
      return [digest, `${formatBytes(sizeBytes)}, SHA-256 ${shortDigest(digest)}`];
    });
    const send = (onBytes: (bytes: number) => void) => sendToService(data, pattern, onBytes);
    const fetch = (onBytes: (bytes: number) => void) => fetchFromService(data, seed, sizeBytes, onBytes);
    return {
      toService: await this.#move("to the service", "the service", sha256, send),
      fromService: await this.#move("from the service", "this end", sha256, fetch),
    };
  }

  async #halfClose(): Promise<void> {
    await this.#step("half-close", async () => {
      const pattern = new Pattern(2, HALF_CLOSE_BYTES);
      const { bytes, sha256, wasEarly } = await halfClose(this.#ports.data, pattern);
      if (wasEarly) throw new DemoFailure("the answer came before the client had shut down its write side");
      if (bytes !== HALF_CLOSE_BYTES || sha256 !== await pattern.digest()) throw new DemoFailure("the half-close lost bytes");
      return [null, `${formatBytes(bytes)} sent, write side shut down, and only then came the answer`];
    });
  }

  async #refuse(): Promise<DemoReport["refused"]> {
    const { dim } = this.#screen.paint;
    const noCertificate = await this.#step("no certificate", async () => {
      const said = await refuseNoCertificate(this.#crew, this.#folder, this.#serverPort);
      return [said, `refused: ${dim(said)}`];
    });
    const wrongName = await this.#step("wrong name", async () => {
      const said = await refuseWrongName(this.#crew, this.#folder, this.#serverPort);
      return [said, `refused: ${dim(said)}`];
    });
    return { noCertificate, wrongName };
  }
}

/** A role that is at work. */
interface Started {
  readonly child: Child;
  /** From its start to `ready`, as seen from here. */
  readonly ms: number;
  readonly ports: readonly number[];
}

async function whenReady(child: Child): Promise<Started> {
  const ports = await child.ports();
  return { child, ms: performance.now() - child.startedAt, ports };
}

/** What a client's log says of its connection: how long it took, and on what both ends agreed. */
function handshakeOf({ child }: Started): {
  readonly ms: number;
  readonly terms: { readonly protocol: string; readonly group: string; readonly cipher: string };
} {
  const connected = child.log.records.find(({ event }) => event === "uplink-connected");
  if (connected === undefined) throw new DemoFailure(`the ${child.name} did not log its connection`, child);
  const text = (field: string) => String(connected[field] ?? "");
  return {
    ms: Number(connected["after_ms"]),
    terms: { protocol: text("protocol"), group: text("group"), cipher: text("cipher") },
  };
}
