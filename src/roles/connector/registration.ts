/**
 * The registration of the connector's services (WIRE 4): send, wait for the answer, send again, give up for a while.
 *
 *   idle ──send──► pending ──ack──► registered
 *     ▲              │  └──nack──► denied ──(backoff)──► pending
 *     └────down──────┴──(3 sends)──► denied
 */
import { Backoff, Timer } from "../../base/mod.ts";
import type { Connection } from "../../core/quic/mod.ts";
import {
  decodeRegistrationReply,
  encodeRegistration,
  REGISTRATION_SENDS_MAX,
  REGISTRATION_TIMEOUT_MS,
} from "../../core/wire/mod.ts";
import type { Plane } from "../control/mod.ts";
import { DENIED_BACKOFF } from "../uplink/mod.ts";

export type RegistrationState = "idle" | "pending" | "registered" | "denied";

interface ServiceRegistration {
  readonly service: string;
  readonly timer: Timer;
  readonly backoff: Backoff;
  state: RegistrationState;
  sends: number;
}

const FRAME_BYTES_MAX = 300;

export class Registrar {
  readonly #plane: Plane;
  readonly #services: readonly ServiceRegistration[];
  readonly #frameAt: number;
  readonly #onRegistered: (nowMs: number) => void;
  #connection: Connection | null = null;

  /** `onRegistered` is called for each acknowledgement. */
  constructor(plane: Plane, services: readonly string[], onRegistered: (nowMs: number) => void) {
    this.#plane = plane;
    this.#frameAt = plane.platform.layout.reserve(FRAME_BYTES_MAX);
    this.#onRegistered = onRegistered;
    this.#services = services.map((service) => {
      const entry: ServiceRegistration = {
        service,
        timer: new Timer((nowMs) => this.#onTimer(entry, nowMs)),
        backoff: new Backoff(DENIED_BACKOFF),
        state: "idle",
        sends: 0,
      };
      return entry;
    });
  }

  get registeredCount(): number {
    return this.#services.filter((entry) => entry.state === "registered").length;
  }

  states(): { readonly id: string; readonly state: RegistrationState }[] {
    return this.#services.map((entry) => ({ id: entry.service, state: entry.state }));
  }

  /** A connection stands: every service is registered on it. */
  begin(connection: Connection, nowMs: number): void {
    this.#connection = connection;
    for (const entry of this.#services) {
      entry.sends = 0;
      this.#send(entry, nowMs);
    }
  }

  /** The connection is gone. */
  end(): void {
    this.#connection = null;
    for (const entry of this.#services) {
      entry.state = "idle";
      this.#plane.platform.reactor.cancelTimer(entry.timer);
    }
  }

  /** An ACK or NACK; answers to questions that we did not ask change nothing. */
  onReply(offset: number, length: number, nowMs: number): void {
    const reply = decodeRegistrationReply(this.#plane.platform.engine.arena.bytes, offset, length);
    if (reply.kind === "malformed") return;
    const asked = this.#services.find((entry) => entry.service === reply.service && entry.state !== "idle");
    if (asked === undefined) return;
    const { reactor } = this.#plane.platform;
    if (reply.kind === "ack") {
      const isNew = asked.state !== "registered";
      asked.state = "registered";
      asked.backoff.reset();
      reactor.cancelTimer(asked.timer);
      if (isNew) this.#plane.log("info", "registered", "The server acknowledged the service", { service: asked.service });
      this.#onRegistered(nowMs);
      return;
    }
    const status = `0x${reply.statusByte.toString(16).padStart(2, "0")}`;
    const message = `Registration NACK for service '${asked.service}' (status=${status})`;
    this.#deny(asked, message, reply.status, nowMs);
    this.#onRegistered(nowMs);
  }

  #onTimer(entry: ServiceRegistration, nowMs: number): void {
    if (this.#connection === null) return;
    if (entry.state === "pending" && entry.sends >= REGISTRATION_SENDS_MAX) {
      this.#deny(entry, `Registration for '${entry.service}' failed after ${entry.sends} attempts, giving up`, "no-answer", nowMs);
      return;
    }
    if (entry.state === "denied") entry.sends = 0;
    this.#send(entry, nowMs);
  }

  #deny(entry: ServiceRegistration, message: string, why: string, nowMs: number): void {
    const delayMs = entry.backoff.next(this.#plane.platform.random());
    entry.state = "denied";
    this.#plane.log("warn", "registration-refused", message, { service: entry.service, why, retry_ms: delayMs });
    this.#plane.platform.reactor.setTimer(entry.timer, nowMs + delayMs);
  }

  #send(entry: ServiceRegistration, nowMs: number): void {
    if (this.#connection === null) return;
    const { engine, reactor } = this.#plane.platform;
    const length = encodeRegistration(engine.arena.bytes, this.#frameAt, "connector", entry.service);
    this.#connection.engine.datagramSend(this.#frameAt, length);
    this.#connection.touch();
    entry.state = "pending";
    entry.sends++;
    reactor.setTimer(entry.timer, nowMs + REGISTRATION_TIMEOUT_MS);
  }
}
