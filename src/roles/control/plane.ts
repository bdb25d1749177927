/**
 * What a data plane is given to work with, and the small things that all three do alike: hear commands, log, stop. The role
 * is built on it by `startServer`, `startConnector` or `startAgent`; then the reactor runs until {@linkcode Plane.finish}.
 */
import { type LogEvent, type LogFields, LogGate, type LogLevel, LogSampler, type SecurityEventInput } from "../../base/mod.ts";
import {
  type ArenaLayout,
  type DeviceCalls,
  EPOLLIN,
  type EventSource,
  type PlaneCrypto,
  type Reactor,
  type UdpSocket,
} from "../../io/mod.ts";
import type { Engine } from "../../core/quic/mod.ts";
import { type CommandChannel, CommandReader } from "./command_ring.ts";
import type { PlaneCommand, PlaneMessage } from "./messages.ts";

/** The worker's platform, made by `worker.ts` or by a test. */
export interface PlanePlatform {
  readonly reactor: Reactor;
  readonly layout: ArenaLayout;
  readonly engine: Engine;
  readonly crypto: PlaneCrypto;
  /** Fills with cryptographically strong randomness. */
  readonly entropy: (bytes: Uint8Array) => void;
  /** In [0, 1), for jitter. */
  readonly random: () => number;
  /** Milliseconds since the epoch, for certificates only. */
  readonly wallClockMs: () => number;
  readonly post: (message: PlaneMessage) => void;
  /** For TUN devices. Absent where there is no kernel. */
  readonly openDevices?: () => DeviceCalls;
}

/** A role's data plane as the worker drives it. */
export interface RolePlane {
  /** Begins the graceful end; the role calls {@linkcode Plane.finish} when it is done. */
  stop(nowMs: number): void;
  onCommand(command: PlaneCommand, nowMs: number): void;
}

export class Plane implements EventSource {
  readonly platform: PlanePlatform;
  readonly #commands: CommandReader;
  readonly #eventFd: number;
  readonly #gate: LogGate;
  readonly #sampler = new LogSampler();
  #role: RolePlane | null = null;
  #stopping = false;

  /** Without a gate every record is sent that does not come too fast. */
  constructor(platform: PlanePlatform, channel: CommandChannel, gate: LogGate = new LogGate()) {
    this.platform = platform;
    this.#gate = gate;
    this.#commands = new CommandReader(channel);
    this.#eventFd = channel.eventFd;
    platform.reactor.add(channel.eventFd, EPOLLIN, this);
  }

  get isStopping(): boolean {
    return this.#stopping;
  }

  /** Runs `role` until it has finished. */
  run(role: RolePlane): void {
    this.#role = role;
    this.#takeCommands(this.platform.reactor.nowMs);
    this.platform.reactor.run();
    this.platform.post({ type: "stopped" });
  }

  /** Whether a record would be written: ask before counting it or building costly fields. */
  isLogged(level: LogLevel, event: LogEvent): boolean {
    return this.#gate.isOn(level, event);
  }

  log(level: LogLevel, event: LogEvent, message: string, fields: LogFields = {}): void {
    if (!this.#gate.isOn(level, event)) return;
    // Here, where it costs little: to hand a record to the other isolate takes longer than to relay a datagram.
    if (!this.#sampler.admits(event, level, this.platform.reactor.nowMs)) return this.#gate.leaveOut(event);
    this.platform.post({ type: "log", record: { level, event, message, fields } });
  }

  /** Tells a security event, for the audit trail and for alerts. */
  event(event: SecurityEventInput): void {
    this.platform.post({ type: "event", event });
  }

  /** Answers a command that carries a number. */
  answer(id: number, count: number, error: string | null): void {
    this.platform.post({ type: "answer", id, count, error });
  }

  /** Warns when the kernel gave a socket less room than it should have: then bursts are lost. */
  noteBuffers(socket: UdpSocket, wantedBytes: number): void {
    // The kernel reports twice what it grants, for its own bookkeeping (socket(7)).
    const granted = socket.grantedReceiveBytes / 2;
    if (granted >= wantedBytes) return;
    this.log(
      "warn",
      "socket-buffers",
      `The kernel grants a receive buffer of ${granted} of ${wantedBytes} bytes: bursts may be lost`,
      {
        granted,
        wanted: wantedBytes,
        hint: `sysctl -w net.core.rmem_max=${wantedBytes} net.core.wmem_max=${wantedBytes}`,
      },
    );
  }

  /** Ends the loop after this turn. */
  finish(): void {
    this.platform.reactor.stop();
  }

  onEvents(_events: number, nowMs: number): void {
    this.platform.reactor.libc.eventfdDrain(this.#eventFd);
    this.#takeCommands(nowMs);
  }

  #takeCommands(nowMs: number): void {
    for (let command = this.#commands.take(); command !== null; command = this.#commands.take()) {
      if (command.type !== "stop") this.#role?.onCommand(command, nowMs);
      else if (!this.#stopping) {
        this.#stopping = true;
        this.#role?.stop(nowMs);
      }
    }
  }
}
