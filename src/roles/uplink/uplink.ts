/**
 * A client's connection to its server: dial, prove, keep alive, and dial again with backoff when it is lost. What travels on
 * it belongs to the role, which is told when it is up and when it is gone.
 */
import { Backoff, Timer } from "../../base/mod.ts";
import { type Connection, type Ending, type Endpoint, type EndpointHandler, knock } from "../../core/quic/mod.ts";
import { ALPN_V2, CloseCode, KEEPALIVE_INTERVAL_MS } from "../../core/wire/mod.ts";
import type { Plane, RolePlan, UplinkPlan, UplinkReport } from "../control/mod.ts";
import { DIAL_ANEW_MS, RECONNECT_BACKOFF } from "./limits.ts";
import { describe, tokenRefused, type UplinkTrouble } from "./uplink_trouble.ts";
import { PathProbe } from "./path_probe.ts";
import { PROOF_STREAM, ProofExchange } from "./proof.ts";
import { ServerDial } from "./server_dial.ts";
import { SilenceWatch } from "./silence_watch.ts";
import { UplinkHub } from "./uplink_hub.ts";
import { UPLINK_TABLE, type UplinkEvent, type UplinkState } from "./uplink_state.ts";

/** What the role does with the uplink. Offsets are valid during the call. */
export interface UplinkRole {
  /** The server's certificate is verified and it answered us: the connection may be used. */
  onUp(connection: Connection, nowMs: number): void;
  /** A connection that was at least proving is gone; its streams are dead. */
  onDown(connection: Connection, nowMs: number): void;
  onDatagram(connection: Connection, offset: number, length: number, nowMs: number): void;
  onReadable(connection: Connection, stream: number, nowMs: number): void;
  onWritable(connection: Connection, stream: number, nowMs: number): void;
  /** The handshake is done but nothing was heard from the server: say something that it answers, if the role has that. */
  onProving(connection: Connection, nowMs: number): void;
  /** It never came up, and trying again cannot help. */
  onFinalTrouble(trouble: UplinkTrouble): void;
}

/** From one stream of a client to its next (RFC 9000 §2.1). */
const STREAM_STEP = 4;

export interface UplinkOptions {
  /** Default: one of its own. */
  readonly hub?: UplinkHub;
  /** Another connection like this one works: trouble is worth waiting for from the beginning. */
  readonly isExpectedToWork?: boolean;
}

export class Uplink implements EndpointHandler {
  readonly #hub: UplinkHub;
  readonly #plane: Plane;
  readonly #role: UplinkRole;
  readonly #backoff = new Backoff(RECONNECT_BACKOFF);
  readonly #redial = new Timer((nowMs) => this.#dial(nowMs));
  readonly #dialTimeout = new Timer((nowMs) => this.#giveUpDial(nowMs));
  readonly #keepAlive = new Timer((nowMs) => this.#sendKeepAlive(nowMs));
  readonly #silence: SilenceWatch;
  readonly #probe: PathProbe;
  readonly #dialer: ServerDial;
  #state: UplinkState = "waiting";
  #connection: Connection | null = null;
  /** With a token: what is said before anything else, and whether it was heard. */
  readonly #proof: ProofExchange | null;
  #isProved = false;
  /** Why we close the connection that is there, if it is for good. */
  #refusal: UplinkTrouble | null = null;
  /** Once true, trouble is the network's or the server's and worth waiting for. */
  #wasUp: boolean;
  /** Dials since it was up last. */
  #attempts = 0;
  #lastError = "";
  #upSinceMs = 0;
  #dialledMs = 0;
  #isPaused = false;
  reconnections = 0;

  constructor(plane: Plane, plan: UplinkPlan, role: UplinkRole, options: UplinkOptions = {}) {
    this.#plane = plane;
    this.#role = role;
    this.#hub = options.hub ?? new UplinkHub(plane, plan);
    this.#dialer = new ServerDial({
      plane,
      plan,
      hub: this.#hub,
      onWon: (connection, nowMs) => this.#onDialled(connection, nowMs),
      onLost: (trouble, nowMs) => this.#lose(trouble, false, nowMs),
    });
    this.#wasUp = options.isExpectedToWork ?? false;
    this.#silence = new SilenceWatch(plane.platform.reactor, {
      ask: () => this.#ping(),
      received: () => this.#connection?.engine.stats().packetsReceived ?? 0,
      sent: () => this.#connection?.engine.stats().packetsSent ?? 0,
      knock: () => this.#connection !== null && knock(plane.platform.engine, this.#connection, plane.platform.entropy),
    });
    this.#probe = new PathProbe(plane.platform.reactor, {
      ask: () => this.#ping(),
      received: () => this.#connection?.engine.stats().packetsReceived ?? 0,
      sendErrors: () => this.#hub.sendErrors,
      onDead: () => this.#connection?.close(CloseCode.shuttingDown, "no answer since the network changed"),
    });
    this.#hub.onPathChange((nowMs) => this.#pathChanged(nowMs));
    this.#proof = plan.token === undefined ? null : new ProofExchange(plane, plan.token);
  }

  get endpoint(): Endpoint {
    return this.#hub.endpoint;
  }

  get state(): UplinkState {
    return this.#state;
  }

  get isPaused(): boolean {
    return this.#isPaused;
  }

  /** The connection that may be used, or null. */
  get connection(): Connection | null {
    return this.#state === "up" ? this.#connection : null;
  }

  /** Whether something that was sent on streams that are over has not arrived yet. */
  get isDelivering(): boolean {
    return this.endpoint.isDelivering;
  }

  /** The first stream that the role may open. */
  get firstStream(): number {
    return this.#proof === null ? PROOF_STREAM : PROOF_STREAM + STREAM_STEP;
  }

  /** What status pages show. */
  report(nowMs: number): UplinkReport {
    const connection = this.connection;
    return {
      state: this.#state,
      server: this.#dialer.target,
      protocol: connection?.engine.applicationProtocol() ?? "",
      upForMs: connection === null ? null : nowMs - this.#upSinceMs,
      rttMs: connection?.engine.stats().rttMs ?? null,
      attempts: this.#attempts,
      lastError: this.#lastError,
      servers: this.#dialer.report(this.#state !== "waiting" && this.#state !== "stopped", nowMs),
    };
  }

  start(nowMs: number): void {
    this.#dial(nowMs);
  }

  /** Certificates and authorities of `plan` are for the next dial. If they do not fit, nothing changes, and the answer says so. */
  onReload(id: number, plan: RolePlan): void {
    if (plan.role === "server") return this.#plane.answer(id, 0, "the plan is for another role");
    this.#plane.answer(id, 0, this.#hub.reload(plan.uplink));
  }

  /** New addresses of `host`, for the next dial, if that is the server's name. */
  setAddressesOf(host: string, addresses: readonly string[]): void {
    this.#hub.setAddressesOf(host, addresses);
  }

  /** Closes until {@linkcode resume}: there is nothing to be connected for. */
  pause(reason: string): void {
    if (this.#state === "stopped" || this.#isPaused) return;
    this.#isPaused = true;
    this.#plane.platform.reactor.cancelTimer(this.#redial);
    this.#cancelDial(reason);
    this.#connection?.close(CloseCode.shuttingDown, reason);
  }

  resume(nowMs: number): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    // A connection that is still closing is dialled again when it has ended.
    if (this.#state === "waiting") this.#dial(nowMs);
  }

  /** Closes for good; what was sent before leaves with this turn. */
  stop(reason: string): void {
    if (this.#state === "stopped") return;
    this.#dialer.cancel(reason);
    this.#step("stop");
    this.#silence.stop();
    this.#probe.stop();
    for (const timer of [this.#redial, this.#dialTimeout, this.#keepAlive]) this.#plane.platform.reactor.cancelTimer(timer);
    this.#connection?.close(CloseCode.shuttingDown, reason);
  }

  /** What the connection was made for works: the next dial after a loss comes soon again. */
  succeeded(): void {
    this.#backoff.reset();
  }

  /** The role heard from the server: our certificate was accepted. */
  answered(nowMs: number): void {
    if (this.#state !== "proving" || this.#connection === null) return;
    this.#step("answered");
    this.#dialer.worked();
    this.#wasUp = true;
    this.#attempts = 0;
    this.#lastError = "";
    this.#upSinceMs = nowMs;
    const { reactor } = this.#plane.platform;
    reactor.cancelTimer(this.#dialTimeout);
    reactor.setTimer(this.#keepAlive, nowMs + KEEPALIVE_INTERVAL_MS);
    const { group, cipher } = this.#connection.engine.tlsDescription();
    this.#plane.log("info", "uplink-connected", "Connected to the server", {
      protocol: this.#connection.engine.applicationProtocol(),
      group,
      cipher,
      after_ms: Math.round(nowMs - this.#dialledMs),
    });
    this.#role.onUp(this.#connection, nowMs);
  }

  /** Gives the sockets back. Only for those who do not end the process. */
  dispose(): void {
    this.#hub.dispose();
  }

  onEstablished(): void {
    // The dial hears of that, and hands the connection over.
  }

  #onDialled(connection: Connection, nowMs: number): void {
    this.#hub.handOver(connection, this);
    this.#connection = connection;
    this.#step("established");
    this.#silence.asked(nowMs);
    this.#isProved = this.#proof === null;
    if (this.#proof === null) return this.#role.onProving(connection, nowMs);
    if (connection.engine.applicationProtocol() === ALPN_V2 && this.#proof.begin(connection)) return;
    this.#giveUpProof(connection, "the server knows no registration tokens: it speaks ztna-v1 only");
  }

  #readProof(connection: Connection, nowMs: number): void {
    const progress = this.#proof?.read(connection) ?? "wait";
    if (progress === "wait") return;
    if (progress === "denied") return this.#giveUpProof(connection, "the server did not accept the registration token");
    this.#isProved = true;
    this.#role.onProving(connection, nowMs);
  }

  #giveUpProof(connection: Connection, why: string): void {
    this.#refuse(connection, tokenRefused(why), why);
  }

  /** The server is not who we want, or does not want us. */
  #refuse(connection: Connection, trouble: UplinkTrouble, why: string): void {
    this.#refusal = trouble;
    connection.close(CloseCode.certificateMissing, why);
  }

  onDatagram(connection: Connection, offset: number, length: number, nowMs: number): void {
    if (connection !== this.#connection) return;
    this.#silence.heard(nowMs);
    this.#role.onDatagram(connection, offset, length, nowMs);
  }

  onReadable(connection: Connection, stream: number, nowMs: number): void {
    if (connection !== this.#connection) return;
    this.#silence.heard(nowMs);
    if (!this.#isProved && stream === PROOF_STREAM) this.#readProof(connection, nowMs);
    else this.#role.onReadable(connection, stream, nowMs);
  }

  onWritable(connection: Connection, stream: number, nowMs: number): void {
    if (connection !== this.#connection) return;
    this.#silence.heard(nowMs);
    this.#role.onWritable(connection, stream, nowMs);
  }

  onClosed(connection: Connection, ending: Ending, nowMs: number): void {
    if (connection !== this.#connection) return;
    this.#connection = null;
    const wasUp = this.#state === "up";
    const isMeant = this.#state === "stopped" || this.#isPaused;
    this.#silence.stop();
    this.#probe.stop();
    const refusal = this.#refusal;
    this.#refusal = null;
    if (isMeant) this.#stepDown();
    this.#role.onDown(connection, nowMs);
    if (isMeant) return;
    const why = ending.info === null ? "no answer" : describe(ending.info);
    const trouble = refusal ?? this.#dialer.explain(connection, ending);
    this.#lose(wasUp ? { ...trouble, message: `Lost the server: ${why}` } : trouble, wasUp, nowMs);
  }

  /** A dial came to nothing, or the connection is gone. */
  #lose(trouble: UplinkTrouble, wasUp: boolean, nowMs: number): void {
    this.#stepDown();
    this.#dialer.failed(trouble.message, trouble.isFinal && !wasUp, nowMs);
    if (!this.#wasUp && this.#hub.health.isHopeless) return this.#role.onFinalTrouble(trouble);
    const { platform } = this.#plane;
    const spreadMs = this.#dialer.spreadMs(nowMs), random = platform.random();
    const delayMs = spreadMs === null ? this.#backoff.next(random) : Math.round(spreadMs * random);
    this.#lastError = trouble.message;
    const event = wasUp ? "uplink-lost" : "uplink-failed";
    this.#plane.log("warn", event, trouble.message, { ...(wasUp ? {} : { hint: trouble.hint }), retry_ms: delayMs });
    this.reconnections++;
    this.#dialer.resolve();
    platform.reactor.setTimer(this.#redial, nowMs + delayMs);
  }

  #stepDown(): void {
    this.#step("lost");
    const { reactor } = this.#plane.platform;
    reactor.cancelTimer(this.#dialTimeout);
    reactor.cancelTimer(this.#keepAlive);
  }

  #dial(nowMs: number): void {
    this.#attempts++;
    const { reactor } = this.#plane.platform;
    this.#dialledMs = reactor.clockMs;
    this.#step("dial");
    const timeoutMs = this.#dialer.start(nowMs);
    if (this.#state === "dialling") reactor.setTimer(this.#dialTimeout, nowMs + timeoutMs);
  }

  #giveUpDial(nowMs: number): void {
    const why = "no answer in time";
    const trouble = this.#dialer.cancel(why);
    if (trouble !== null) this.#lose(trouble, false, nowMs);
    else this.#connection?.close(CloseCode.shuttingDown, why);
  }

  /** What is there is asked at once, what waits or has waited for long is tried at once. */
  #pathChanged(nowMs: number): void {
    const { reactor } = this.#plane.platform;
    if (this.#connection !== null) return this.#probe.begin(nowMs);
    if (this.#state === "dialling") {
      if (reactor.clockMs - this.#dialledMs < DIAL_ANEW_MS) return;
      this.#cancelDial("the network has changed");
    } else if (this.#redial.deadlineMs === Infinity) return;
    reactor.cancelTimer(this.#redial);
    this.#dial(nowMs);
  }

  #cancelDial(why: string): void {
    if (this.#dialer.cancel(why) !== null) this.#stepDown();
  }

  #sendKeepAlive(nowMs: number): void {
    if (this.#connection === null) return;
    this.#silence.asked(nowMs);
    this.#ping();
    this.#plane.platform.reactor.setTimer(this.#keepAlive, nowMs + KEEPALIVE_INTERVAL_MS);
  }

  #ping(): void {
    this.#connection?.engine.keepAlive();
    this.#connection?.touch();
  }

  #step(event: UplinkEvent): void {
    const next = UPLINK_TABLE[this.#state][event];
    if (next !== null) this.#state = next;
  }
}
