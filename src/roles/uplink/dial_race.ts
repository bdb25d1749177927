/**
 * One dial of a server that has several addresses (Happy Eyeballs, RFC 8305): the first address is tried at once, each further one when
 * the one before has failed or has said nothing for {@linkcode NEXT_ADDRESS_MS}, IPv6 and IPv4 in turns. The first whose mutual
 * handshake is done wins; the others are closed.
 *
 *   start ──► try ──250 ms or a failure──► try the next ──► ... ──established──► won
 *                                                 └─────── all have failed ────► lost
 */
import { Timer } from "../../base/mod.ts";
import type { Connection, Ending, EndpointHandler } from "../../core/quic/mod.ts";
import { CloseCode } from "../../core/wire/mod.ts";
import { DIAL_ADDRESSES_MAX, NEXT_ADDRESS_MS } from "./limits.ts";
import type { UplinkTrouble } from "./uplink_trouble.ts";

/** The part of the reactor that is needed here. */
interface Timers {
  readonly nowMs: number;
  setTimer(timer: Timer, atMs: number): void;
  cancelTimer(timer: Timer): void;
}

export interface DialRaceParts {
  readonly timers: Timers;
  /** In the order in which they are tried. */
  readonly addresses: readonly string[];
  /** Begins a connection whose events come here; null when there is no way to this address. */
  readonly connect: (address: string, owner: EndpointHandler) => Connection | null;
  /** Whether a server whose handshake is done is the one that we want; else why not. */
  readonly judge: (connection: Connection, address: string) => UplinkTrouble | null;
  readonly explain: (connection: Connection, ending: Ending, address: string) => UplinkTrouble;
  /** Why an address that was never heard of is no way in. */
  readonly silent: (address: string) => UplinkTrouble;
  /** From now on its events are somebody else's. */
  readonly onWon: (connection: Connection, address: string, nowMs: number) => void;
  /** No address is left. */
  readonly onLost: (trouble: UplinkTrouble, nowMs: number) => void;
}

/**
 * The addresses that one dial tries, as RFC 8305 §4 wants them: families in turns, beginning with that of the first one. Of more than
 * {@linkcode DIAL_ADDRESSES_MAX} the dial with number `dial` takes its share.
 */
export function raceOrder(addresses: readonly string[], dial: number): string[] {
  const from = addresses.length <= DIAL_ADDRESSES_MAX ? 0 : dial * DIAL_ADDRESSES_MAX % addresses.length;
  const turned = [...addresses.slice(from), ...addresses.slice(0, from)];
  const isV6 = (address: string) => address.includes(":");
  const firstIsV6 = turned[0] !== undefined && isV6(turned[0]);
  const first = turned.filter((address) => isV6(address) === firstIsV6),
    second = turned.filter((address) => !first.includes(address));
  const order = Array.from(
    { length: Math.max(first.length, second.length) },
    (_, i) => [...first.slice(i, i + 1), ...second.slice(i, i + 1)],
  );
  return order.flat().slice(0, DIAL_ADDRESSES_MAX);
}

export class DialRace implements EndpointHandler {
  readonly #parts: DialRaceParts;
  readonly #running = new Map<Connection, string>();
  readonly #waiting: string[];
  readonly #timer = new Timer((nowMs) => this.#tryNext(nowMs));
  readonly #troubles: UplinkTrouble[] = [];
  #isOver = false;

  constructor(parts: DialRaceParts) {
    this.#parts = parts;
    this.#waiting = [...parts.addresses];
  }

  start(nowMs: number): void {
    this.#tryNext(nowMs);
  }

  /** Closes what runs and tries nothing more. The answer is what it would have been told as lost. */
  cancel(why: string): UplinkTrouble {
    this.#troubles.push(...[...this.#running.values()].map(this.#parts.silent));
    this.#finish(why, null);
    return this.#trouble();
  }

  onEstablished(connection: Connection, nowMs: number): void {
    const address = this.#running.get(connection);
    if (this.#isOver || address === undefined) return;
    const trouble = this.#parts.judge(connection, address);
    if (trouble !== null) {
      connection.close(CloseCode.certificateMissing, "not the server that is wanted");
      return this.#failed(connection, trouble, nowMs);
    }
    this.#finish("another address was quicker", connection);
    this.#parts.onWon(connection, address, nowMs);
  }

  onClosed(connection: Connection, ending: Ending, nowMs: number): void {
    const address = this.#running.get(connection);
    if (this.#isOver || address === undefined) return;
    this.#failed(connection, this.#parts.explain(connection, ending, address), nowMs);
  }

  onDatagram(): void {
    // Only a connection that has won is listened to.
  }

  onReadable(): void {
    // As above.
  }

  onWritable(): void {
    // As above.
  }

  #tryNext(nowMs: number): void {
    const { timers, connect } = this.#parts;
    for (let address = this.#waiting.shift(); address !== undefined; address = this.#waiting.shift()) {
      const connection = connect(address, this);
      if (connection === null) {
        const message = `no socket for ${address}`;
        this.#troubles.push({ code: "no-route", message, hint: "this machine has no such address family", isFinal: false });
        continue;
      }
      this.#running.set(connection, address);
      if (this.#waiting.length > 0) timers.setTimer(this.#timer, nowMs + NEXT_ADDRESS_MS);
      return;
    }
    if (this.#running.size === 0) this.#lose(nowMs);
  }

  #failed(connection: Connection, trouble: UplinkTrouble, nowMs: number): void {
    this.#running.delete(connection);
    this.#troubles.push(trouble);
    this.#parts.timers.cancelTimer(this.#timer);
    this.#tryNext(nowMs);
  }

  #lose(nowMs: number): void {
    if (this.#isOver) return;
    this.#finish("", null);
    this.#parts.onLost(this.#trouble(), nowMs);
  }

  #finish(why: string, winner: Connection | null): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#parts.timers.cancelTimer(this.#timer);
    for (const connection of this.#running.keys()) if (connection !== winner) connection.close(CloseCode.shuttingDown, why);
    this.#running.clear();
  }

  /** The one that says most; final only when every address came to that. */
  #trouble(): UplinkTrouble {
    const [first = this.#parts.silent(""), ...others] = this.#troubles;
    const telling = [first, ...others].find(({ code }) => code !== "no-answer" && code !== "no-route") ?? others.at(-1) ?? first;
    return { ...telling, isFinal: [first, ...others].every(({ isFinal }) => isFinal) };
  }
}
