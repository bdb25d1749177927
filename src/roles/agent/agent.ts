/**
 * The agent's data plane: local TCP listeners, each leading to one service, and one uplink on which every local connection
 * becomes a stream.
 */
import { type MetricCells, sanitizeForLog } from "../../base/mod.ts";
import type { Connection } from "../../core/quic/mod.ts";
import { AbortCode, classifyFrame, FrameKind } from "../../core/wire/mod.ts";
import { TcpListener } from "../../io/mod.ts";
import {
  type AgentPlan,
  type BoundAddress,
  type ForwardPlan,
  GracefulEnd,
  type Plane,
  type PlaneCommand,
  type RolePlane,
} from "../control/mod.ts";
import { BRIDGE_CHUNK_BYTES, DRAIN_MS, Uplink, type UplinkRole, type UplinkTrouble } from "../uplink/mod.ts";
import { localFlows } from "./flows.ts";
import { CONNECTIONS_MAX } from "./limits.ts";
import { type LocalContext, type LocalEnd, type LocalRefusal, LocalStream } from "./local_stream.ts";
import { AGENT_METRICS } from "./metrics.ts";

type Counters = MetricCells<typeof AGENT_METRICS>;

const REFUSAL_COUNTER: Readonly<Record<LocalRefusal, keyof typeof AGENT_METRICS>> = {
  "denied": "denied",
  "unknown-service": "unknownService",
  "no-connector": "noConnector",
  "datagram-only": "datagramOnly",
  "backend-refused": "backendRefused",
  "backend-timeout": "backendTimeout",
  "busy": "busy",
  "no-uplink": "noUplink",
  "no-answer": "noAnswer",
};

/** Client-initiated bidirectional streams are 0, 4, 8, … (RFC 9000 §2.1). */
const STREAM_STEP = 4;

export class AgentPlane implements RolePlane, UplinkRole {
  readonly #plane: Plane;
  readonly #counters: Counters;
  readonly #uplink: Uplink;
  readonly #context: LocalContext;
  readonly #listeners: TcpListener[];
  readonly #services: readonly string[];
  /** What the last open of each service was answered: a result's name. */
  readonly #answers = new Map<string, string>();
  readonly #locals = new Set<LocalStream>();
  readonly #byStream = new Map<number, LocalStream>();
  readonly #end: GracefulEnd;
  #nextStream = 0;

  constructor(plane: Plane, plan: AgentPlan, counters: Counters) {
    this.#plane = plane;
    this.#counters = counters;
    const { layout, engine, reactor } = plane.platform;
    this.#uplink = new Uplink(plane, plan.uplink, this);
    this.#end = new GracefulEnd(plane, () => this.#locals.size === 0 && !this.#uplink.isDelivering, () => this.#finish());
    this.#context = {
      bridge: {
        reactor,
        engine,
        chunkAt: layout.reserve(BRIDGE_CHUNK_BYTES),
        onBytes: (fromSocket, bytes) => this.#add(fromSocket ? "bytesSent" : "bytesReceived", bytes),
      },
      reactor,
      onAccepted: ({ service }) => void this.#answers.set(service, "accepted"),
      onRefused: (stream, code, detail) => this.#onRefused(stream, code, detail),
      onOver: (stream, end) => this.#onOver(stream, end),
    };
    const bound: BoundAddress[] = [];
    this.#services = [...new Set(plan.forwards.map(({ service }) => service))];
    this.#listeners = plan.forwards.map((forward) => this.#listen(forward, bound));
    plane.platform.post({ type: "ready", addresses: bound });
    this.#uplink.start(reactor.nowMs);
  }

  stop(nowMs: number): void {
    this.#plane.log("info", "stopping", "Finishing open connections", { connections: this.#locals.size });
    for (const listener of this.#listeners) listener.close();
    for (const local of [...this.#locals]) if (local.isWaiting) local.abort(AbortCode.shuttingDown);
    this.#end.begin(nowMs, DRAIN_MS);
  }

  onCommand(command: PlaneCommand, nowMs: number): void {
    if (command.type === "resolved") this.#uplink.setAddressesOf(command.host, command.addresses);
    if (command.type === "reload") this.#uplink.onReload(command.id, command.plan);
    if (command.type === "status") {
      const status = {
        peers: [],
        services: this.#services.map((id) => ({ id, state: this.#answers.get(id) ?? "", agents: 0, connectors: 0 })),
        uplink: this.#uplink.report(nowMs),
        flows: localFlows(this.#locals, nowMs, command.flowsMax),
        flowsTotal: this.#locals.size,
        limits: [{ name: "local-connections", used: this.#locals.size, max: CONNECTIONS_MAX }],
      };
      this.#plane.platform.post({ type: "status", id: command.id, status });
    }
  }

  onProving(): void {
    // The server speaks first: its address report (WIRE 3.6) shows that it accepted our certificate.
  }

  onUp(connection: Connection, nowMs: number): void {
    this.#set("uplinkUp", 1);
    this.#nextStream = this.#uplink.firstStream;
    for (const local of [...this.#locals]) this.#open(local, connection, nowMs);
  }

  onDown(): void {
    this.#set("uplinkUp", 0);
    this.#add("reconnections", 1);
    for (const local of [...this.#byStream.values()]) local.connectionLost();
  }

  onDatagram(_connection: Connection, offset: number, length: number, nowMs: number): void {
    const kind = classifyFrame(this.#plane.platform.engine.arena.bytes, offset, length);
    if (kind === FrameKind.qad4 || kind === FrameKind.qad6) {
      this.#uplink.answered(nowMs);
      this.#uplink.succeeded();
    } else this.#add("datagramsDropped", 1);
  }

  onReadable(_connection: Connection, stream: number): void {
    this.#byStream.get(stream)?.onReadable();
  }

  onWritable(_connection: Connection, stream: number): void {
    this.#byStream.get(stream)?.onWritable();
  }

  onFinalTrouble(trouble: UplinkTrouble): void {
    const { message, hint, code } = trouble;
    this.#plane.platform.post({ type: "failed", message, hint, code, exitCode: 1 });
    this.#plane.finish();
  }

  #listen(forward: ForwardPlan, bound: BoundAddress[]): TcpListener {
    const { reactor, layout } = this.#plane.platform;
    const listener = new TcpListener(reactor, layout, forward.listen, (fd) => this.#accept(forward.service, fd));
    bound.push({ name: `forward ${forward.service}`, transport: "tcp", ...listener.bound });
    return listener;
  }

  #accept(service: string, fd: number): void {
    const { reactor } = this.#plane.platform;
    if (this.#locals.size >= CONNECTIONS_MAX) {
      this.#add("tooMany", 1);
      reactor.libc.setLingerZero(fd);
      reactor.libc.close(fd);
      return;
    }
    this.#add("connections", 1);
    const local = new LocalStream(this.#context, service, fd, reactor.nowMs);
    this.#locals.add(local);
    this.#set("activeConnections", this.#locals.size);
    const { connection } = this.#uplink;
    if (connection !== null) this.#open(local, connection, reactor.nowMs);
  }

  #open(local: LocalStream, connection: Connection, nowMs: number): void {
    if (!local.isWaiting) return;
    const stream = this.#nextStream;
    if (connection.engine.streamsLeft() > 0) this.#nextStream += STREAM_STEP;
    this.#byStream.set(stream, local);
    local.open(connection, stream, nowMs);
  }

  #onRefused(local: LocalStream, code: LocalRefusal, detail: string): void {
    this.#add(REFUSAL_COUNTER[code], 1);
    this.#answers.set(local.service, code);
    const why = sanitizeForLog(detail, 200);
    this.#plane.log("warn", "stream-refused", `No connection to ${local.service}: ${code}${why === "" ? "" : ` (${why})`}`, {
      service: local.service,
      code,
    });
  }

  #onOver(local: LocalStream, end: LocalEnd): void {
    this.#locals.delete(local);
    if (this.#byStream.get(local.stream) === local) this.#byStream.delete(local.stream);
    this.#set("activeConnections", this.#locals.size);
    this.#plane.log("debug", "stream-closed", "A local connection ended", { service: local.service, end });
  }

  #finish(): void {
    for (const local of [...this.#locals]) local.abort(AbortCode.shuttingDown);
    this.#uplink.stop("agent shutting down");
    this.#plane.finish();
  }

  #add(key: keyof typeof AGENT_METRICS, amount: number): void {
    const { cells, index } = this.#counters;
    const at = index[key];
    cells[at] = (cells[at] ?? 0) + amount;
  }

  #set(key: keyof typeof AGENT_METRICS, value: number): void {
    this.#counters.cells[this.#counters.index[key]] = value;
  }
}
