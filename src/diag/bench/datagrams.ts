/**
 * Datagrams at an even rate: UDP packets to a service that sends each of them back. A packet carries its number and when it was sent;
 * an answer counts once.
 */
import { Timer } from "../../base/mod.ts";
import { decodeRegistrationReply } from "../../core/wire/mod.ts";
import { type ProbeConnection, type ProbeWorld, udpPacketOf, udpPayloadOf } from "../probe/mod.ts";
import type { BenchPlan } from "./options.ts";
import type { Tally } from "./tally.ts";

/** Inside of the tunnel; the connector answers to it. */
const FROM = { ip: "10.0.0.100", port: 12_345 };
/** What is still on its way has so long at the end. */
const LAST_MS = 2_000;
/** Later than this an answer is none: of the numbers only so many are remembered. */
const REMEMBERED = 1 << 17;
const TICK_MS = 1;
/** After so long the rest of the program has its turn. */
const SLICE_MS = 20;
const REGISTRATION_MS = 2_000, REGISTRATIONS = 5;

/** Registers as an agent of the service. Null: the server agreed; else what it said. */
export async function registerAgent(connection: ProbeConnection, service: string): Promise<string | null> {
  const replies = () => connection.received.map((bytes) => decodeRegistrationReply(bytes, 0, bytes.length));
  const answer = () => replies().find(({ kind }) => kind === "ack" || kind === "nack");
  for (let sends = 0; sends < REGISTRATIONS && connection.ending === null; sends++) {
    connection.register(service);
    await connection.until(() => answer() !== undefined, REGISTRATION_MS);
    const reply = answer();
    if (reply !== undefined) return reply.kind === "nack" ? `the server denies ${service}: ${reply.status}` : null;
  }
  return connection.trouble?.message ?? "the server did not answer the registration";
}

export async function loadDatagrams(world: ProbeWorld, connection: ProbeConnection, plan: BenchPlan, tally: Tally): Promise<void> {
  const { reactor } = world;
  const payload = new Uint8Array(plan.sizeBytes).fill(0x62), view = new DataView(payload.buffer);
  const open = new Uint8Array(REMEMBERED);
  const take = () => {
    for (const datagram of connection.received.splice(0)) {
      const answer = udpPayloadOf(datagram);
      if (answer === null || answer.length !== payload.length) continue;
      const said = new DataView(answer.buffer, answer.byteOffset), number = said.getUint32(0);
      if (number >= tally.sent || tally.sent - number > REMEMBERED || open[number % REMEMBERED] === 0) continue;
      open[number % REMEMBERED] = 0;
      tally.answer(reactor.clockMs - said.getFloat64(4), answer.length);
    }
  };
  const tick = new Timer(() => {}), begunMs = reactor.clockMs, endMs = begunMs + plan.durationMs;
  let yieldedMs = begunMs;
  const turn = async () => {
    reactor.setTimer(tick, reactor.clockMs + TICK_MS);
    reactor.turn();
    take();
    if (reactor.clockMs - yieldedMs < SLICE_MS) return;
    await new Promise((resolve) => setTimeout(resolve, 0));
    yieldedMs = reactor.clockMs;
  };
  while (reactor.clockMs < endMs && connection.ending === null) {
    const due = (reactor.clockMs - begunMs) * (plan.perSecond ?? 0) / 1_000;
    while (tally.sent < due) {
      view.setUint32(0, tally.sent);
      view.setFloat64(4, reactor.clockMs);
      // A full queue is the connection's limit: what is due waits for its turn.
      if (!connection.send(udpPacketOf(payload, FROM, plan.to))) break;
      open[tally.sent % REMEMBERED] = 1;
      tally.sent++;
    }
    await turn();
  }
  for (const lastMs = reactor.clockMs + LAST_MS; tally.answered < tally.sent && reactor.clockMs < lastMs;) {
    if (connection.ending !== null) return;
    await turn();
  }
}
