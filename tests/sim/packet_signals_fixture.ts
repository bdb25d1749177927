/**
 * What peers of a world of packets say about direct paths, and what must hold: nobody hears of a session that is not his, and the
 * addresses that an agent is told are those of the connector that was asked.
 */
import type { Candidate, SignalMessage } from "../../src/core/wire/mod.ts";
import type { SimWorld } from "./sim_world_fixture.ts";
import type { PacketPeer } from "./packet_peer_fixture.ts";

/** Sessions of one agent are numbered from its own thousand. */
const NUMBERS = 1_000n;
const ANSWER_MS = 40;

export class PacketSignals {
  /** Sessions that led to a start, by agent. */
  readonly started = new Map<number, number>();
  readonly #world: SimWorld;
  readonly #onWrong: (what: string) => void;

  constructor(world: SimWorld, onWrong: (what: string) => void) {
    this.#world = world;
    this.#onWrong = onWrong;
  }

  /** An agent asks for a direct path. */
  offer(agent: number, peer: PacketPeer, count: number, service: string): void {
    const sessionId = BigInt(agent) * NUMBERS + BigInt(count);
    peer.signal({ kind: "candidate-offer", sessionId, service, candidates: [candidate(`agent ${agent}`)] });
  }

  /** What an agent hears. */
  onAgent(agent: number, message: SignalMessage): void {
    if (message.kind !== "start-punching" && message.kind !== "error" && message.kind !== "punching-result") {
      return this.#onWrong(`agent ${agent} heard ${message.kind}`);
    }
    if (message.sessionId !== null && message.sessionId / NUMBERS !== BigInt(agent)) {
      return this.#onWrong(`agent ${agent} heard of session ${message.sessionId}`);
    }
    if (message.kind !== "start-punching") return;
    this.started.set(agent, (this.started.get(agent) ?? 0) + 1);
    const isAnswer = message.candidates.every(({ foundation }) => foundation === `connector ${message.sessionId}`);
    if (!isAnswer || message.candidates.length !== 1) this.#onWrong(`agent ${agent} was told other addresses than the connector's`);
  }

  /** What a connector hears: it answers offers, each in its own words. */
  onConnector(peer: PacketPeer, message: SignalMessage, stream: number): void {
    if (message.kind === "candidate-offer") {
      const { sessionId, service } = message;
      if (!peer.options.services.includes(service)) this.#onWrong(`a connector was asked for ${service}`);
      this.#checkAgent(sessionId, message.candidates);
      const candidates = [candidate(`connector ${sessionId}`)];
      this.#world.events.after(ANSWER_MS, () => peer.signal({ kind: "candidate-answer", sessionId, candidates }, stream));
    } else if (message.kind === "start-punching") this.#checkAgent(message.sessionId, message.candidates);
    else if (message.kind === "candidate-answer") this.#onWrong("a connector heard an answer");
  }

  #checkAgent(sessionId: bigint, candidates: readonly Candidate[]): void {
    const expected = `agent ${sessionId / NUMBERS}`;
    if (candidates.some(({ foundation }) => foundation !== expected)) {
      this.#onWrong(`a connector was told other addresses than those of ${expected}`);
    }
  }
}

function candidate(foundation: string): Candidate {
  return { type: "host", address: { ip: "192.0.2.7", port: 5_000 }, priority: 1, foundation, relatedAddress: null };
}
