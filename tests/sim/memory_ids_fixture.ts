/** The connection IDs of one connection of the memory engine (RFC 9000 §5.1): ours, and those of the peer that we send to. */
import { EngineError } from "../../src/core/quic/mod.ts";
import type { Frame } from "./memory_packet_fixture.ts";

export class ConnectionIds {
  /** How many of ours the peer keeps. */
  peerMax = 2;
  readonly source: Uint8Array;
  readonly #ours = new Map<number, Uint8Array>();
  readonly #theirs = new Map<number, { readonly id: Uint8Array; readonly token: Uint8Array | null }>();
  #destination: Uint8Array | null;
  #destinationSequence = 0;
  #isKnown = false;
  #next = 1;
  #retirePriorTo = 0;
  #retired: Uint8Array[] = [];

  constructor(source: Uint8Array, destination: Uint8Array | null) {
    this.source = source.slice();
    this.#destination = destination;
    this.#ours.set(0, this.source);
  }

  /** Whether the peer's own ID is known, not only the one that we made up for it. */
  get isKnown(): boolean {
    return this.#isKnown;
  }

  get destination(): Uint8Array {
    return this.#destination ?? new Uint8Array(0);
  }

  /** The source of the peer's first packet is where everything goes from then on. */
  learn(source: Uint8Array): void {
    if (this.#isKnown) return;
    this.#isKnown = true;
    this.#destination = source;
    this.#theirs.set(0, { id: source, token: null });
  }

  /** The token of the first ID comes with the handshake. */
  learnToken(token: Uint8Array): void {
    const first = this.#theirs.get(0);
    if (first !== undefined) this.#theirs.set(0, { ...first, token });
  }

  /** Whether the last bytes of a packet that nobody can read are a reset of this connection (RFC 9000 §10.3.1). */
  isReset(tail: Uint8Array): boolean {
    return [...this.#theirs.values()].some(({ token }) => token !== null && token.every((byte, at) => byte === tail[at]));
  }

  /** Whether an ID in a packet to us is one that the peer has not retired. */
  isOurs(id: Uint8Array): boolean {
    for (const own of this.#ours.values()) if (isSame(own, id)) return true;
    return false;
  }

  get room(): number {
    return Math.max(0, this.peerMax - (this.#ours.size - this.#countRetiring()));
  }

  /** A Retry names another destination for the first packets. */
  redirect(destination: Uint8Array): void {
    this.#destination = destination;
  }

  /** A new one of ours; the oldest goes when the peer keeps no more. Returns its number. */
  issue(id: Uint8Array, token: Uint8Array, out: Frame[]): number {
    // Those that the peer was asked to retire still count until it has: twice its limit is the end.
    if (this.#ours.size >= 2 * this.peerMax - 1) return EngineError.idLimit;
    const sequence = this.#next++;
    if (this.room === 0) this.#retirePriorTo = this.#oldestActive() + 1;
    this.#ours.set(sequence, id.slice());
    out.push({ kind: "new-id", sequence, retirePriorTo: this.#retirePriorTo, id: id.slice(), token: token.slice() });
    return sequence;
  }

  // Sequence numbers stand in the map in ascending order.

  #countRetiring(): number {
    let count = 0;
    for (const sequence of this.#ours.keys()) if (sequence < this.#retirePriorTo) count++;
    return count;
  }

  #oldestActive(): number {
    for (const sequence of this.#ours.keys()) if (sequence >= this.#retirePriorTo) return sequence;
    return this.#retirePriorTo;
  }

  onNew(frame: Frame & { readonly kind: "new-id" }, out: Frame[]): void {
    this.#theirs.set(frame.sequence, frame);
    for (const sequence of [...this.#theirs.keys()]) {
      if (sequence >= frame.retirePriorTo) continue;
      this.#theirs.delete(sequence);
      out.push({ kind: "retire-id", sequence });
    }
    if (this.#theirs.has(this.#destinationSequence)) return;
    this.#destinationSequence = Math.max(...this.#theirs.keys());
    this.#destination = this.#theirs.get(this.#destinationSequence)?.id ?? frame.id;
  }

  onRetired(sequence: number): void {
    const id = this.#ours.get(sequence);
    if (id === undefined) return;
    this.#ours.delete(sequence);
    this.#retired.push(id);
  }

  takeRetired(): Uint8Array[] {
    const retired = this.#retired;
    this.#retired = [];
    return retired;
  }
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
