/**
 * The registration of services on one connection (WIRE 4): send, wait for the answer, send again, give up for a while; and the way
 * back, where the protocol has one. A question is asked only when the one before has its answer, so that they cannot overtake each
 * other.
 *
 *   idle ──send──► pending ──ack──► registered ──withdraw──► withdrawing ──nack──► idle
 *     ▲              │  └──nack──► denied ──(backoff)──► pending
 *     └────down──────┴──(3 sends)──► denied               └─(3 sends, pause)─┘ again, or pending if it is wanted again
 */
import { Backoff, parseServiceId, Timer } from "../../base/mod.ts";
import type { EngineConnection } from "../../core/quic/mod.ts";
import {
  ALPN_V2,
  decodeRegistrationReply,
  encodeRegistration,
  encodeWithdrawal,
  type NackStatus,
  REGISTRATION_SENDS_MAX,
  REGISTRATION_TIMEOUT_MS,
  type RegistrationRole,
} from "../../core/wire/mod.ts";
import type { Plane } from "../control/mod.ts";
import { DENIED_BACKOFF, UNANSWERED_BACKOFF } from "./limits.ts";

export type RegistrationState = "idle" | "pending" | "registered" | "denied" | "withdrawing";

interface Entry {
  readonly service: string;
  readonly timer: Timer;
  /** After an answer that will hardly change, and after every other one or none. */
  readonly backoffs: { readonly denied: Backoff; readonly unanswered: Backoff };
  state: RegistrationState;
  /** Why it is denied: the name of a NACK's status, or `no-answer`. */
  why: string;
  /** It was registered on this connection before it was denied. */
  isTakenBack: boolean;
  sends: number;
  isWanted: boolean;
}

/** How far a service is, for status pages. */
export interface RegistrationReport {
  /** `withdrawn`: the server took back what it had given. */
  readonly state: RegistrationState | "withdrawn";
  /** Of `denied` and `withdrawn`; else "". */
  readonly why: string;
}

/** Room for one frame; see {@linkcode RegistrarOptions.frameAt}. */
export const REGISTRATION_FRAME_BYTES = 300;

/** What it needs of a connection. */
export interface RegistrationLink {
  readonly engine: Pick<EngineConnection, "applicationProtocol" | "datagramSend">;
  touch(): void;
}

/** What it needs of the data plane. */
export interface RegistrationPlane extends Pick<Plane, "log"> {
  readonly platform: {
    readonly engine: { readonly arena: { readonly bytes: Uint8Array } };
    readonly reactor: Pick<Plane["platform"]["reactor"], "setTimer" | "cancelTimer">;
    readonly random: () => number;
  };
}

export interface RegistrarOptions {
  readonly plane: RegistrationPlane;
  /** As what we register. Only connectors can withdraw. */
  readonly role: RegistrationRole;
  /** Offset of {@linkcode REGISTRATION_FRAME_BYTES} bytes that are used within one call only. */
  readonly frameAt: number;
  /** Called for each answer of the server to something that was asked. */
  readonly onAnswered: (isAcknowledged: boolean, nowMs: number) => void;
  /** Called when it answered so that asking again will hardly help. */
  readonly onDenied?: (service: string) => void;
}

export class Registrar {
  readonly #options: RegistrarOptions;
  readonly #entries = new Map<string, Entry>();
  #connection: RegistrationLink | null = null;

  constructor(options: RegistrarOptions) {
    this.#options = options;
  }

  get registeredCount(): number {
    let count = 0;
    for (const { state } of this.#entries.values()) if (state === "registered") count++;
    return count;
  }

  /** Whether nothing is to be asked of the server. */
  get isEmpty(): boolean {
    return this.#entries.size === 0;
  }

  stateOf(service: string): RegistrationState | null {
    return this.#entries.get(service)?.state ?? null;
  }

  reportOf(service: string): RegistrationReport | null {
    const entry = this.#entries.get(service);
    if (entry === undefined) return null;
    const isDenied = entry.state === "denied";
    return { state: isDenied && entry.isTakenBack ? "withdrawn" : entry.state, why: isDenied ? entry.why : "" };
  }

  /** From now on exactly these are to be registered. What is registered and not among them is withdrawn, where that is possible. */
  setServices(services: readonly string[], nowMs: number): void {
    for (const entry of [...this.#entries.values()]) {
      entry.isWanted = services.includes(entry.service);
      this.#pursue(entry, nowMs);
    }
    for (const service of services) this.add(service, nowMs);
  }

  /** One more is to be registered. */
  add(service: string, nowMs: number): void {
    if (this.#entries.has(service)) return;
    const entry: Entry = {
      service,
      timer: new Timer((now) => this.#onTimer(entry, now)),
      backoffs: { denied: new Backoff(DENIED_BACKOFF), unanswered: new Backoff(UNANSWERED_BACKOFF) },
      state: "idle",
      why: "",
      isTakenBack: false,
      sends: 0,
      isWanted: true,
    };
    this.#entries.set(service, entry);
    this.#pursue(entry, nowMs);
  }

  /** Forgets a service that is not registered. */
  remove(service: string): void {
    const entry = this.#entries.get(service);
    if (entry === undefined) return;
    this.#options.plane.platform.reactor.cancelTimer(entry.timer);
    this.#entries.delete(service);
  }

  /** A connection stands: every service is registered on it. */
  begin(connection: RegistrationLink, nowMs: number): void {
    this.#connection = connection;
    for (const entry of [...this.#entries.values()]) this.#pursue(entry, nowMs);
  }

  /** The connection is gone. */
  end(): void {
    this.#connection = null;
    for (const entry of [...this.#entries.values()]) {
      entry.state = "idle";
      entry.isTakenBack = false;
      this.#options.plane.platform.reactor.cancelTimer(entry.timer);
      if (!entry.isWanted) this.#entries.delete(entry.service);
    }
  }

  /** An ACK or NACK; answers to questions that we did not ask change nothing. */
  onReply(offset: number, length: number, nowMs: number): void {
    const { plane, onAnswered } = this.#options;
    const reply = decodeRegistrationReply(plane.platform.engine.arena.bytes, offset, length);
    if (reply.kind === "malformed") return;
    const asked = reply.kind === "nack" && reply.service === "" ? this.#unreadable() : this.#entries.get(reply.service);
    if (asked === undefined || asked.state === "idle" || asked.state === "denied") return;
    if (reply.kind === "ack") this.#acknowledged(asked, nowMs);
    else if (asked.state === "withdrawing") this.#withdrawn(asked, reply.status, nowMs);
    // What a repeated WITHDRAW was answered comes late and concerns nothing any more.
    else if (reply.status !== "withdrawn") this.#refused(asked, reply.status, reply.statusByte, nowMs);
    onAnswered(reply.kind === "ack", nowMs);
  }

  #acknowledged(entry: Entry, nowMs: number): void {
    const { plane } = this.#options;
    // It answers the registration before the withdrawal.
    if (entry.state === "withdrawing") return;
    const isNew = entry.state !== "registered";
    entry.state = "registered";
    entry.isTakenBack = false;
    entry.backoffs.denied.reset();
    entry.backoffs.unanswered.reset();
    plane.platform.reactor.cancelTimer(entry.timer);
    if (isNew) plane.log("info", "registered", "The server acknowledged the service", { service: entry.service });
    this.#pursue(entry, nowMs);
  }

  #refused(entry: Entry, status: NackStatus, statusByte: number, nowMs: number): void {
    const byte = `0x${statusByte.toString(16).padStart(2, "0")}`;
    const advice = status === "invalid" ? ": the server takes no such id; --allow-legacy-service-ids there would" : "";
    this.#deny(entry, `Registration NACK for service '${entry.service}' (status=${byte})${advice}`, status, nowMs);
  }

  /** Which service an answer concerns that could not repeat its id (WIRE 4.3); undefined when it could be several. */
  #unreadable(): Entry | undefined {
    const pending = [...this.#entries.values()].filter(({ state }) => state === "pending");
    const unusual = pending.filter(({ service }) => !parseServiceId(service).ok);
    const possible = unusual.length > 0 ? unusual : pending;
    return possible.length === 1 ? possible[0] : undefined;
  }

  #withdrawn(entry: Entry, status: NackStatus, nowMs: number): void {
    const { plane } = this.#options;
    // The next send comes with the timer.
    if (status !== "withdrawn" && status !== "not-authorised") return;
    plane.platform.reactor.cancelTimer(entry.timer);
    entry.backoffs.unanswered.reset();
    entry.state = "idle";
    entry.sends = 0;
    plane.log("info", "withdrawn", "The server gives us nothing new of the service", { service: entry.service });
    this.#pursue(entry, nowMs);
  }

  /** Does what the entry's state allows towards what is wanted of it. */
  #pursue(entry: Entry, nowMs: number): void {
    const canWithdraw = this.#connection?.engine.applicationProtocol() === ALPN_V2;
    if (entry.state === "registered" && !entry.isWanted && canWithdraw) {
      entry.sends = 0;
      this.#sendWithdrawal(entry, nowMs);
    } else if ((entry.state === "idle" || entry.state === "denied") && !entry.isWanted) {
      this.#options.plane.platform.reactor.cancelTimer(entry.timer);
      this.#entries.delete(entry.service);
    } else if (entry.state === "idle") {
      entry.sends = 0;
      this.#sendRegistration(entry, nowMs);
    }
  }

  #onTimer(entry: Entry, nowMs: number): void {
    if (this.#connection === null) return;
    if (entry.state === "withdrawing") return this.#onNotWithdrawn(entry, nowMs);
    if (entry.state === "pending" && entry.sends >= REGISTRATION_SENDS_MAX) {
      this.#deny(entry, `Registration for '${entry.service}' failed after ${entry.sends} attempts, giving up`, "no-answer", nowMs);
      return;
    }
    if (entry.state === "denied") entry.sends = 0;
    this.#sendRegistration(entry, nowMs);
  }

  /** The answer was lost, or the server does not know the question: opens that it still brings are refused. It is asked again. */
  #onNotWithdrawn(entry: Entry, nowMs: number): void {
    const { plane } = this.#options;
    const { service } = entry;
    if (entry.sends < REGISTRATION_SENDS_MAX) return this.#sendWithdrawal(entry, nowMs);
    entry.sends = 0;
    // Registering what is registered changes nothing.
    if (entry.isWanted) return this.#sendRegistration(entry, nowMs);
    const delayMs = entry.backoffs.unanswered.next(plane.platform.random());
    const fields = { service, why: "not-withdrawn", retry_ms: delayMs };
    plane.log("warn", "registration-refused", `The server does not take '${service}' back`, fields);
    plane.platform.reactor.setTimer(entry.timer, nowMs + delayMs);
  }

  #deny(entry: Entry, message: string, why: string, nowMs: number): void {
    const { plane } = this.#options;
    const isFinal = why === "not-authorised" || why === "invalid";
    const delayMs = (isFinal ? entry.backoffs.denied : entry.backoffs.unanswered).next(plane.platform.random());
    entry.isTakenBack ||= entry.state === "registered";
    entry.state = "denied";
    entry.why = why;
    plane.log("warn", "registration-refused", message, { service: entry.service, why, retry_ms: delayMs });
    plane.platform.reactor.setTimer(entry.timer, nowMs + delayMs);
    this.#pursue(entry, nowMs);
    if (isFinal) this.#options.onDenied?.(entry.service);
  }

  #sendRegistration(entry: Entry, nowMs: number): void {
    if (this.#connection === null) return;
    const { frameAt, plane, role } = this.#options;
    entry.state = "pending";
    this.#send(encodeRegistration(plane.platform.engine.arena.bytes, frameAt, role, entry.service), entry, nowMs);
  }

  #sendWithdrawal(entry: Entry, nowMs: number): void {
    if (this.#connection === null) return;
    const { frameAt, plane } = this.#options;
    entry.state = "withdrawing";
    this.#send(encodeWithdrawal(plane.platform.engine.arena.bytes, frameAt, entry.service), entry, nowMs);
  }

  #send(length: number, entry: Entry, nowMs: number): void {
    const { frameAt, plane } = this.#options;
    this.#connection?.engine.datagramSend(frameAt, length);
    this.#connection?.touch();
    entry.sends++;
    plane.platform.reactor.setTimer(entry.timer, nowMs + REGISTRATION_TIMEOUT_MS);
  }
}
