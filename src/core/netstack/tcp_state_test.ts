/**
 * Every state against every kind of segment: what state follows, what is answered, what the owner hears. The table lies in
 * tests/vectors/netstack_tcp_states.txt; POSTERN_UPDATE_SNAPSHOTS=1 writes it anew, for a person to read the difference.
 */
import { assert, assertEquals } from "@std/assert";
import { type Sent, TestPeer } from "./peer_fixture.ts";
import { mayReceive, mayWrite, nextTcpState, TCP_TRANSITIONS, type TcpEvent, type TcpState } from "./tcp_state.ts";

const SNAPSHOT = new URL("../../../tests/vectors/netstack_tcp_states.txt", import.meta.url);

/** How to get a session into each state; the peer has then sent up to `next` and acknowledged up to `acked`. */
const STATES: { readonly [K in TcpState]: (peer: () => TestPeer, waiting: () => TestPeer) => TestPeer } = {
  closed: (peer) => peer(),
  pending: (_, waiting) => {
    const peer = waiting();
    peer.send({ flags: "S", seq: 0 });
    return peer;
  },
  synSent: (peer) => peer().connect(),
  synReceived: (peer) => {
    const at = peer();
    at.send({ flags: "S", seq: 0 });
    return at;
  },
  established: (peer) => peer().establish(),
  finWait1: (peer) => {
    const at = peer().establish();
    at.shutdown();
    return at;
  },
  finWait2: (peer) => {
    const at = STATES.finWait1(peer, peer);
    at.poll();
    at.send({ flags: "A", ack: 2 });
    return at;
  },
  closing: (peer) => {
    const at = STATES.finWait1(peer, peer);
    at.poll();
    at.send({ flags: "FA", ack: 1 });
    return at;
  },
  closeWait: (peer) => {
    const at = peer().establish();
    at.send({ flags: "FA" });
    return at;
  },
  lastAck: (peer) => {
    const at = STATES.closeWait(peer, peer);
    at.shutdown();
    return at;
  },
  timeWait: (peer) => {
    const at = STATES.finWait2(peer, peer);
    at.send({ flags: "FA", ack: 2 });
    return at;
  },
};

/** `next` is the peer's next number in that state, `acked` what of ours it has, `sent` all that we sent. */
type Kind = (next: number, acked: number, sent: number) => Sent;
const KINDS: readonly (readonly [string, Kind])[] = [
  ["SYN again", () => ({ flags: "S", seq: 0 })],
  ["SYN anew", () => ({ flags: "S", seq: 5_000 })],
  ["SYN|ACK", (_next, _acked, sent) => ({ flags: "SA", seq: 0, ack: sent })],
  ["ACK of all", (next, _acked, sent) => ({ flags: "A", seq: next, ack: sent })],
  ["ACK of nothing new", (next, acked) => ({ flags: "A", seq: next, ack: acked })],
  ["ACK of the future", (next, _acked, sent) => ({ flags: "A", seq: next, ack: sent + 100 })],
  ["ACK far too old", (next, acked) => ({ flags: "A", seq: next, ack: acked - 200_000 })],
  ["data in order", (next, acked) => ({ flags: "PA", seq: next, ack: acked, data: "hello" })],
  ["data beyond a gap", (next, acked) => ({ flags: "PA", seq: next + 10, ack: acked, data: "hello" })],
  ["data repeated", (next, acked) => ({ flags: "PA", seq: next - 5, ack: acked, data: "hello" })],
  ["data outside the window", (next, acked) => ({ flags: "PA", seq: next + 1_000_000, ack: acked, data: "hello" })],
  ["data without ACK", (next) => ({ flags: "P", seq: next, data: "hello" })],
  ["FIN", (next, acked) => ({ flags: "FA", seq: next, ack: acked })],
  ["FIN with ACK of all", (next, _acked, sent) => ({ flags: "FA", seq: next, ack: sent })],
  ["FIN with data", (next, acked) => ({ flags: "FPA", seq: next, ack: acked, data: "bye" })],
  ["FIN beyond a gap", (next, acked) => ({ flags: "FA", seq: next + 3, ack: acked })],
  ["FIN repeated", (next, acked) => ({ flags: "FA", seq: next - 1, ack: acked })],
  ["RST exact", (next, _acked, sent) => ({ flags: "RA", seq: next, ack: sent })],
  ["RST within the window", (next) => ({ flags: "R", seq: next + 100 })],
  ["RST outside the window", (next) => ({ flags: "R", seq: next + 1_000_000 })],
  ["SYN|FIN", (next) => ({ flags: "SF", seq: next })],
  ["SYN with data", () => ({ flags: "S", seq: 0, data: "early" })],
  ["SYN|RST", () => ({ flags: "SR", seq: 0 })],
  ["SYN|ACK of the future", (_next, _acked, sent) => ({ flags: "SA", seq: 0, ack: sent + 100 })],
  ["ACK of all, at a closed window", (next, _acked, sent) => ({ flags: "A", seq: next, ack: sent, window: 0 })],
  ["keepalive", (next, _acked, sent) => ({ flags: "A", seq: next - 1, ack: sent })],
  ["data with ACK of all", (next, _acked, sent) => ({ flags: "PA", seq: next, ack: sent, data: "hello" })],
  ["data repeated in part", (next, acked) => ({ flags: "PA", seq: next - 2, ack: acked, data: "hello" })],
  ["data with the urgent bit", (next, acked) => ({ flags: "UPA", seq: next, ack: acked, data: "hello" })],
  ["FIN with data and ACK of all", (next, _acked, sent) => ({ flags: "FPA", seq: next, ack: sent, data: "bye" })],
  ["FIN without ACK", (next) => ({ flags: "F", seq: next })],
  ["RST one number early", (next) => ({ flags: "R", seq: next - 1 })],
  ["RST with FIN", (next) => ({ flags: "RF", seq: next })],
  ["no bits at all", (next) => ({ flags: "", seq: next })],
  ["all bits at once", (next, _acked, sent) => ({ flags: "FSRPAU", seq: next, ack: sent })],
];

function row(state: TcpState, kind: Kind): string {
  const peer = STATES[state](() => new TestPeer(), () => new TestPeer({ decide: "wait" }));
  peer.poll();
  peer.heard();
  const { session } = peer;
  assertEquals(session?.state ?? "closed", state);
  const hadPeer = session !== null && state !== "synSent";
  const next = hadPeer ? (session.receive.next - session.receive.initial) | 0 : 0;
  const acked = session === null ? 0 : (session.send.una - session.send.initial) | 0;
  const sent = session === null ? 0 : (session.send.next - session.send.initial) | 0;
  peer.send(kind(next, acked, sent));
  const after = peer.session;
  const answers = peer.told(), events = peer.heard();
  const now = after === session ? after?.state ?? "closed" : `${session?.state ?? "closed"}, new ${after?.state}`;
  return [now, answers.join(" + ") || "-", events.join(", ") || "-"].join(" | ");
}

Deno.test("every state answers every kind of segment as the table says", async () => {
  const lines = ["state × segment: state afterwards | what is answered | what the owner hears", ""];
  for (const state of Object.keys(STATES) as TcpState[]) {
    lines.push(`${state}`);
    for (const [name, kind] of KINDS) lines.push(`  ${name}: ${row(state, kind)}`);
    lines.push("");
  }
  const text = lines.join("\n");
  if (Deno.env.get("POSTERN_UPDATE_SNAPSHOTS") === "1") await Deno.writeTextFile(SNAPSHOT, text);
  assertEquals(text, await Deno.readTextFile(SNAPSHOT));
});

Deno.test("every state meets every event of the table, and ends by `end`", () => {
  const events: TcpEvent[] = ["accept", "synAck", "syn", "synAcked", "fin", "close", "finAcked", "end"];
  const table = Object.keys(TCP_TRANSITIONS).map((state) =>
    [state, ...events.map((event) => nextTcpState(state as TcpState, event) ?? "-")].join(" ")
  );
  assertEquals(table, [
    "pending synReceived - - - - - - closed",
    "synSent - established synReceived - - - - closed",
    "synReceived - - - established - - - closed",
    "established - - - - closeWait finWait1 - closed",
    "finWait1 - - - - closing - finWait2 closed",
    "finWait2 - - - - timeWait - - closed",
    "closing - - - - - - timeWait closed",
    "closeWait - - - - - lastAck - closed",
    "lastAck - - - - - - closed closed",
    "timeWait - - - - - - - closed",
    "closed - - - - - - - -",
  ]);
});

Deno.test("data flows in a state as long as the FIN of that direction has not been sent", () => {
  const states = Object.keys(TCP_TRANSITIONS) as TcpState[];
  assertEquals(states.filter(mayReceive), ["established", "finWait1", "finWait2"]);
  assertEquals(states.filter(mayWrite), ["established", "closeWait"]);
  assert(!mayWrite("synReceived"), "nothing before the handshake");
});
