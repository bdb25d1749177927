/**
 * The control plane's side of a role: it starts the data plane's worker, passes commands down and log records up, looks names
 * up for it, and knows how it ended. A worker that throws ends the role.
 */
import {
  type LogGate,
  type LogRecord,
  type LogSink,
  messageOf,
  type MetricCells,
  metricCells,
  type MetricTable,
  PosternError,
  type SecurityEventInput,
  STATUS_SUMMARY,
  type StatusExtent,
} from "../../base/mod.ts";
import type { DenyEntry } from "../../core/auth/mod.ts";
import { formatEndpoint } from "../../io/mod.ts";
import { type CommandChannel, CommandWriter, createCommandChannel } from "./command_ring.ts";
import type { BoundAddress, PlaneCommand, PlaneMessage, PlaneStart, RolePlan } from "./messages.ts";
import type { PlaneStatus } from "./plane_status.ts";
import type { WorkerGroup } from "./worker_group.ts";
import type { Resolve } from "./plan.ts";

/** What a host needs of the platform. */
export interface HostPlatform {
  /** That this process may use: less than the machine has where its affinity or its quota say so. */
  readonly cores: number;
  /** Whether this kernel lets several sockets share a port by a program. */
  readonly canSharePorts: () => boolean;
  /** Starts `worker.ts` and has it prepare itself. */
  readonly spawnWorker: () => Worker;

  /** A new eventfd, and the way to signal one. */
  readonly eventfd: () => number;
  readonly signalEventfd: (fd: number) => void;
  readonly resolve: Resolve;
  /** Has this machine ask `server` about names in `domain`. Resolves to null, or to why it could not. */
  readonly setLinkDns: (link: string, server: string, domain: string) => Promise<string | null>;
  /** What the kernel dropped because a network interface of ours was not read in time; null when there is no such interface. */
  readonly linkDrops: (link: string) => number | null;
}

/** The log as the host needs it. */
export interface HostLog {
  readonly sink: LogSink;
  readonly gate: LogGate;
}

/** A running role, seen from the control plane. */
export interface RoleHost {
  readonly addresses: readonly BoundAddress[];
  readonly metrics: MetricCells<MetricTable>;
  /** The server's services that have a connector; another array when that changes. */
  readonly served: readonly string[];
  /** Resolves after a graceful end; rejects with the error that ended the role. */
  readonly finished: Promise<void>;
  /** With up to so many peers and flows; default: none. */
  status(extent?: StatusExtent): Promise<PlaneStatus>;
  /** Ends gracefully, within the role's drain time. More calls change nothing. */
  stop(): void;
  /** Ends at once. */
  abort(): void;
  send(command: PlaneCommand): boolean;
  /** Has the data plane use what may change while it runs of `plan`. Rejects with its words when it refuses: nothing has changed then. */
  reload(plan: RolePlan): Promise<void>;
  /** Ends a peer's connection. Resolves to whether there was one of this number. */
  disconnect(peer: number): Promise<boolean>;
  /** Refuses a certificate until the process ends. Resolves to the number of connections that this ended. */
  deny(entry: DenyEntry): Promise<number>;
}

/** A reload parses certificates and revocation lists while packets wait; many peers take a while to list on a busy machine. */
const ANSWER_TIMEOUT_MS = 10_000;

/** How often the kernel's count of drops is brought among the metrics. */
const LINK_DROPS_MS = 1_000;

/** What was begun before the data plane: where events go, and what listens besides, for the record that says where. */
export interface Surroundings {
  readonly record: (event: SecurityEventInput) => void;
  /** Name of the field to address. */
  readonly listening: Readonly<Record<string, string>>;
}

/** One data plane. */
export class Host implements RoleHost {
  readonly metrics: MetricCells<MetricTable>;
  readonly ready: Promise<void>;
  readonly finished: Promise<void>;
  addresses: readonly BoundAddress[] = [];
  served: readonly string[] = [];
  readonly #platform: HostPlatform;
  readonly #log: LogSink;
  readonly #worker: Worker;
  readonly #commands: CommandWriter;
  readonly #ready = Promise.withResolvers<void>();
  readonly #finished = Promise.withResolvers<void>();
  readonly #surroundings: Surroundings;
  readonly #statusWaiters = new Map<number, (status: PlaneStatus) => void>();
  readonly #answerWaiters = new Map<number, (count: number, error: string | null) => void>();
  #nextNumber = 1;
  #isOver = false;

  constructor(
    platform: HostPlatform,
    plan: RolePlan,
    table: MetricTable,
    log: HostLog,
    surroundings: Surroundings,
    channel: CommandChannel = createCommandChannel(platform.eventfd()),
    group?: WorkerGroup,
  ) {
    this.#platform = platform;
    this.#log = log.sink;
    this.#surroundings = surroundings;
    this.metrics = metricCells(table);
    this.ready = this.#ready.promise;
    this.finished = this.#finished.promise;
    // Who only waits for `ready` is told by that; nobody need listen to both.
    this.finished.catch(() => {});
    this.ready.catch(() => {});
    this.#commands = new CommandWriter(channel, () => platform.signalEventfd(channel.eventFd));
    this.#worker = platform.spawnWorker();
    this.#worker.onmessage = (event: MessageEvent<PlaneMessage>) => this.#onMessage(event.data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#end(new PosternError(`internal error in the data plane: ${event.message}`, { code: "internal" }));
    };
    const start: PlaneStart = {
      type: "start",
      plan,
      commands: channel,
      cells: this.metrics.cells.buffer,
      logGate: log.gate.buffer,
      ...(group === undefined ? {} : { group }),
    };
    this.#worker.postMessage(start);
  }

  status(extent: StatusExtent = STATUS_SUMMARY): Promise<PlaneStatus> {
    const id = this.#nextNumber++;
    const { promise, resolve, reject } = Promise.withResolvers<PlaneStatus>();
    const timer = setTimeout(
      () => reject(new PosternError("the data plane did not answer", { code: "status" })),
      ANSWER_TIMEOUT_MS,
    );
    this.#statusWaiters.set(id, (status) => {
      clearTimeout(timer);
      resolve(status);
    });
    this.send({ type: "status", id, ...extent });
    return promise.finally(() => this.#statusWaiters.delete(id));
  }

  send(command: PlaneCommand): boolean {
    return !this.#isOver && this.#commands.send(command);
  }

  async reload(plan: RolePlan): Promise<void> {
    await this.#ask((id) => ({ type: "reload", id, plan }));
  }

  async disconnect(peer: number): Promise<boolean> {
    return await this.#ask((id) => ({ type: "disconnect", id, peer })) > 0;
  }

  deny(entry: DenyEntry): Promise<number> {
    return this.#ask((id) => ({ type: "deny", id, entry }));
  }

  #ask(command: (id: number) => PlaneCommand): Promise<number> {
    const id = this.#nextNumber++;
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const refuse = (why: string) => reject(new PosternError(why, { code: "reload" }));
    const timer = setTimeout(() => refuse("the data plane did not answer"), ANSWER_TIMEOUT_MS);
    this.#answerWaiters.set(id, (count, error) => error === null ? resolve(count) : refuse(error));
    if (!this.send(command(id))) refuse("the data plane takes no command now");
    return promise.finally(() => {
      clearTimeout(timer);
      this.#answerWaiters.delete(id);
    });
  }

  stop(): void {
    if (!this.send({ type: "stop" })) this.abort();
  }

  abort(): void {
    this.#end(null);
  }

  /** Ends at once with this error. */
  fail(error: PosternError): void {
    this.#end(error);
  }

  #onMessage(message: PlaneMessage): void {
    switch (message.type) {
      case "log":
        return this.#log(message.record);
      case "ready":
        this.addresses = message.addresses;
        return this.#ready.resolve();
      case "status":
        return this.#statusWaiters.get(message.id)?.(message.status);
      case "answer":
        return this.#answerWaiters.get(message.id)?.(message.count, message.error);
      case "event":
        return this.#surroundings.record(message.event);
      case "served":
        this.served = message.services;
        return;
      case "tun":
        this.#watchLink(message.link);
        return void this.#setLinkDns(message.link, message.server, message.domain);
      case "resolve":
        return void this.#resolve(message.host);
      case "failed": {
        const { message: text, hint, code, exitCode } = message;
        return this.#end(new PosternError(text, { code, exitCode, ...(hint === null ? {} : { hint }) }));
      }
      case "stopped":
        return this.#end(null);
      case "prepared":
        return; // for whoever spawned the worker
    }
  }

  async #resolve(host: string): Promise<void> {
    try {
      this.send({ type: "resolved", host, addresses: await this.#platform.resolve(host) });
    } catch (error) {
      this.#log({ level: "warn", event: "uplink-failed", message: messageOf(error), fields: { host } });
    }
  }

  /** The cell is written here and not by the data plane, which has no file to read. */
  #watchLink(link: string): void {
    const { cells, index } = this.metrics;
    const at = index["droppedDevice"];
    if (at === undefined) return;
    Deno.unrefTimer(setInterval(() => {
      if (!this.#isOver) cells[at] = this.#platform.linkDrops(link) ?? cells[at] ?? 0;
    }, LINK_DROPS_MS));
  }

  /** Where the machine's resolver cannot be told, a person is told what to set; the device works without. */
  async #setLinkDns(link: string, server: string, domain: string): Promise<void> {
    const why = await this.#platform.setLinkDns(link, server, domain);
    const fields = { link, server, domain };
    this.#log(
      why === null ? { level: "info", event: "tun-names-set", message: `Names in ${domain} are asked at ${server}`, fields } : {
        level: "warn",
        event: "tun-names-not-set",
        message: `This machine was not told to ask ${server} about names in ${domain} (${why}); set it in its resolver`,
        fields,
      },
    );
  }

  #end(error: PosternError | null): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#worker.terminate();
    if (error === null) {
      this.#ready.resolve();
      this.#finished.resolve();
    } else {
      this.#ready.reject(error);
      this.#finished.reject(error);
    }
  }
}

/** The one record by which scripts and people learn that the role is at work, and where. */
export function readyRecord(addresses: readonly BoundAddress[], besides: Readonly<Record<string, string>>): LogRecord {
  const where = addresses.map((bound) => `${bound.name} on ${bound.transport} ${formatEndpoint(bound)}`);
  const fields = Object.fromEntries(addresses.flatMap((bound, i) => [
    [`listen_${i}`, `${bound.transport}:${formatEndpoint(bound)}`],
    [`name_${i}`, bound.name],
  ]));
  const message = where.length === 0 ? "Ready" : `Ready: ${where.join(", ")}`;
  return { level: "info", event: "ready", message, fields: { ...fields, ...besides } };
}
