/**
 * Several data planes that are one server: worker 0 decides, and is asked and told whatever concerns the server; the others carry
 * connections. A worker that fails ends all of them.
 */
import { type MetricCells, metricCells, type MetricTable, PosternError, type StatusExtent } from "../../base/mod.ts";
import type { DenyEntry } from "../../core/auth/mod.ts";
import { createCommandChannel } from "./command_ring.ts";
import { Host, type HostLog, type HostPlatform, readyRecord, type RoleHost, type Surroundings } from "./host.ts";
import { createWorkerGroup } from "./worker_group.ts";
import type { BoundAddress, PlaneCommand, RolePlan, ServerPlan } from "./messages.ts";
import type { PlaneStatus } from "./plane_status.ts";

const KEY_BYTES = 32;

/** Starts the workers of `plan` one by one: the order in which they bind is their number. Rejects when one cannot begin. */
export async function startGroupHost(
  platform: HostPlatform,
  plan: ServerPlan,
  table: MetricTable,
  log: HostLog,
  surroundings: Surroundings,
): Promise<RoleHost> {
  const keys = { retry: randomKey(), reset: randomKey() };
  const shared = withKeys(plan, keys);
  const channels = Array.from({ length: plan.workers ?? 1 }, () => createCommandChannel(platform.eventfd()));
  const groups = createWorkerGroup(channels.map(({ eventFd }) => eventFd));
  const hosts: Host[] = [];
  try {
    for (const group of groups) {
      const binds = hosts[0]?.addresses ?? plan.binds;
      const host = new Host(platform, { ...shared, binds }, table, log, surroundings, channels[group.worker], group);
      hosts.push(host);
      await host.ready;
    }
  } catch (error) {
    for (const host of hosts) host.abort();
    throw error;
  }
  const host = new GroupHost(hosts, table, (plan) => withKeys(plan, keys));
  log.sink(readyRecord(host.addresses, surroundings.listening));
  return host;
}

class GroupHost implements RoleHost {
  readonly finished: Promise<void>;
  readonly #hosts: readonly Host[];
  readonly #first: Host;
  readonly #table: MetricTable;
  readonly #shared: (plan: ServerPlan) => ServerPlan;

  constructor(hosts: readonly Host[], table: MetricTable, shared: (plan: ServerPlan) => ServerPlan) {
    const first = hosts[0];
    if (first === undefined) throw new Error("postern: internal error: a server without workers");
    this.#hosts = hosts;
    this.#first = first;
    this.#table = table;
    this.#shared = shared;
    this.finished = this.#watch();
    this.finished.catch(() => {});
  }

  get addresses(): readonly BoundAddress[] {
    return this.#first.addresses;
  }

  get served(): readonly string[] {
    return this.#first.served;
  }

  /** Sums of what the workers count; what is one or none is one when any of them says so. */
  get metrics(): MetricCells<MetricTable> {
    const sums = metricCells(this.#table);
    const areFlags = Object.values(this.#table).map(({ combine }) => combine === "any");
    for (const { metrics } of this.#hosts) {
      for (let i = 0; i < sums.cells.length; i++) {
        const value = metrics.cells[i] ?? 0, sum = sums.cells[i] ?? 0;
        sums.cells[i] = areFlags[i] === true ? Math.max(sum, value) : sum + value;
      }
    }
    return sums;
  }

  status(extent?: StatusExtent): Promise<PlaneStatus> {
    return this.#first.status(extent);
  }

  /** Worker 0 ends first, then the others send what it said last. */
  stop(): void {
    this.#first.stop();
  }

  abort(): void {
    for (const host of this.#hosts) host.abort();
  }

  send(command: PlaneCommand): boolean {
    return this.#first.send(command);
  }

  /** Worker 0 goes first: what it refuses changes nothing. That another refuses what it took cannot be, and ends the server. */
  async reload(plan: RolePlan): Promise<void> {
    const shared = plan.role === "server" ? this.#shared(plan) : plan;
    await this.#first.reload(shared);
    try {
      await Promise.all(this.#hosts.slice(1).map((host) => host.reload(shared)));
    } catch (error) {
      this.#first.fail(
        new PosternError("internal error: the workers do not agree about a reload", { code: "internal", cause: error }),
      );
      throw error;
    }
  }

  disconnect(peer: number): Promise<boolean> {
    return this.#first.disconnect(peer);
  }

  deny(entry: DenyEntry): Promise<number> {
    return this.#first.deny(entry);
  }

  async #watch(): Promise<void> {
    const others = this.#hosts.slice(1);
    try {
      await Promise.race([this.#first.finished, ...others.map(({ finished }) => finished)]);
      for (const host of others) host.stop();
      await Promise.all(this.#hosts.map(({ finished }) => finished));
    } finally {
      this.abort();
    }
  }
}

/** All workers know the same tokens and resets. */
function withKeys(plan: ServerPlan, { retry, reset }: { readonly retry: Uint8Array; readonly reset: Uint8Array }): ServerPlan {
  const { retryKeys, resetKey } = plan;
  return {
    ...plan,
    retryKeys: retryKeys !== null && retryKeys.length === 0 ? [{ id: 0, key: retry }] : retryKeys,
    resetKey: resetKey ?? reset,
  };
}

function randomKey(): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(KEY_BYTES));
}
