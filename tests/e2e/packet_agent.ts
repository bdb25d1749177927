/**
 * An agent as earlier ztna-v1 peers are: it registers for one service and sends IP packets in DATAGRAMs. Its TCP is the network
 * stack as the active opener. It runs as a process of its own, does what its arguments say one after the other, and prints one
 * line of JSON for each.
 *
 *   deno run -A tests/e2e/packet_agent.ts '{"server":"127.0.0.1:4433",...}' '{"do":"tcp","to":"10.100.0.1:80",...}' ...
 */
import { createHash } from "node:crypto";
import { Buffer } from "node:buffer";
import { Timer } from "../../src/base/mod.ts";
import { NetStack, type PacketPath, type TcpSession } from "../../src/core/netstack/mod.ts";
import { packetMemoryOf, parseEnds, udpHeadroomBytes } from "../../src/core/wire/mod.ts";
import { type AgentTarget, type PacketCommand, type PacketResult, patternOf } from "./packet_agent_fixture.ts";
import { splitPort, V1Agent } from "./v1_agent_fixture.ts";

const SOURCE = "100.64.0.1", SOURCE_V6 = "fd00:64::1";
const COMMAND_MS = 60_000;

const target = JSON.parse(Deno.args[0] ?? "{}") as AgentTarget;
const wakeTimer = new Timer(() => {});
let nextPort = target.firstPort ?? 40_000;
let packets: string[] = [];
let strays = 0;
let largest = 0;

const stack = new NetStack({
  onSyn: () => null,
  onSynRefused: () => {},
  onFlow: () => {
    strays++;
    return null;
  },
  answersEcho: () => false,
  onPathReady: () => {},
}, { entropy: crypto.getRandomValues(new Uint8Array(16)) });
let path: PacketPath | null = null;

const agent = new V1Agent({ ...target, services: [target.service] }, {
  onOpen(connection) {
    path = stack.openPath({ agentKey: null, maxBytes: connection.engine.datagramMax() - wrapper().length });
  },
  onPacket(offset, length, nowMs) {
    if (path === null) return;
    largest = Math.max(largest, length);
    if (packets.length < 64) packets.push(Buffer.from(arena.bytes.subarray(offset, offset + length)).toString("hex"));
    stack.handlePacket(path, arena, offset, length, nowMs);
  },
});
const { connection, reactor } = agent;
const { arena } = reactor.libc;
const frameAt = agent.layout.reserve(70_000);
reactor.onTurnEnd((nowMs) => {
  stack.handleTimeout(nowMs);
  agent.endTurn(nowMs);
  pump(nowMs);
  agent.endTurn(nowMs);
});

/** What stands in front of each packet: nothing, or the ROUTED header. */
function wrapper(): Uint8Array {
  const id = new TextEncoder().encode(target.service);
  return target.isRouted === true ? new Uint8Array([0x2f, id.length, ...id]) : new Uint8Array(0);
}

function pump(nowMs: number): void {
  if (path === null || connection.isOver) return;
  const header = wrapper();
  arena.bytes.set(header, frameAt);
  while (!connection.engine.isDatagramQueueFull()) {
    const length = stack.pollPacket(path, arena, frameAt + header.length, 65_536, nowMs);
    if (length === 0) return;
    connection.engine.datagramSend(frameAt, header.length + length);
    connection.touch();
  }
}

function turnUntil(isDone: () => boolean, limitMs: number, what: string): void {
  const deadline = performance.now() + limitMs;
  while (!isDone()) {
    const nowMs = performance.now();
    if (nowMs > deadline) throw new Error(`no ${what} within ${limitMs} ms`);
    wake(Math.min(deadline, stack.nextTimeoutMs(), nowMs + 20));
    reactor.turn();
  }
}

function wake(atMs: number): void {
  reactor.setTimer(wakeTimer, atMs);
}

function endsTo(host: string, source = host.includes(":") ? SOURCE_V6 : SOURCE) {
  const ends = parseEnds(source, host);
  if (ends === null) throw new Error(`not an address: ${host}`);
  return ends;
}

function tcp(command: PacketCommand & { do: "tcp" }): PacketResult {
  const [host, remotePort] = splitPort(command.to);
  if (path === null) throw new Error("not connected");
  const data = packetMemoryOf(patternOf(command.send ?? 0));
  const hash = createHash("sha256");
  const started = performance.now();
  let sent = 0, received = 0, isOpen = false, hasFin = false, openMs = 0;
  let end: string | null = null;
  const write = () => {
    if (!isOpen || end !== null || (command.afterFin === true && !hasFin)) return;
    sent += stack.write(session, data, sent, data.bytes.length - sent, performance.now());
    if (sent < data.bytes.length) return;
    if (command.end === "rst") stack.abort(session, performance.now());
    else if (command.end !== "open") stack.shutdownWrite(session, performance.now());
  };
  const made = stack.connect(path, endsTo(host), nextPort++, remotePort, {
    onOpen: () => {
      isOpen = true;
      openMs = performance.now() - started;
      write();
    },
    onData: (_session, memory, offset, length) => {
      hash.update(memory.bytes.subarray(offset, offset + length));
      received += length;
      return length;
    },
    onFin: () => {
      hasFin = true;
      write();
      if (command.end === "open") stack.shutdownWrite(session, performance.now());
    },
    onWritable: write,
    onClosed: (_session, why) => end = why,
  }, performance.now());
  if (made === null) throw new Error("no room for a session");
  const session = made;
  turnUntil(() => end !== null, COMMAND_MS, `end of ${JSON.stringify(command)}`);
  return { isOpen, openMs, sent, received, sha256: hash.digest("hex"), end, ms: performance.now() - started, largest };
}

function many(command: PacketCommand & { do: "many" }): PacketResult {
  const [host, remotePort] = splitPort(command.to);
  if (path === null) throw new Error("not connected");
  let opened = 0, refused = 0;
  const sessions: TcpSession[] = [];
  for (let i = 0; i < command.count; i++) {
    const ends = endsTo(host, command.sources === undefined ? undefined : `100.64.0.${1 + i % command.sources}`);
    const session = stack.connect(path, ends, nextPort++, remotePort, {
      onOpen: () => opened++,
      onData: (_session, _memory, _offset, length) => length,
      onFin: () => {},
      onWritable: () => {},
      onClosed: (_session, why) => {
        if (why === "reset") refused++;
      },
    }, performance.now());
    if (session !== null) sessions.push(session);
  }
  turnUntil(() => opened + refused === command.count, COMMAND_MS, "answers to all");
  const endMs = performance.now() + (command.holdMs ?? 0);
  turnUntil(() => performance.now() >= endMs, COMMAND_MS, "end of the wait");
  for (const session of sessions) stack.abort(session, performance.now());
  return { opened, refused };
}

function udp(command: PacketCommand & { do: "udp" }): PacketResult {
  const [host, remotePort] = splitPort(command.to);
  if (path === null) throw new Error("not connected");
  const replies: string[] = [];
  let refused = 0;
  const flow = stack.openFlow(path, endsTo(host), nextPort++, remotePort, {
    onDatagram: (_flow, memory, offset, length) => {
      replies.push(Buffer.from(memory.bytes.subarray(offset, offset + length)).toString("latin1"));
    },
    onUnreachable: () => refused++,
    onEnd: () => {},
  }, performance.now());
  if (flow === null) throw new Error("no room for a flow");
  const header = wrapper();
  arena.bytes.set(header, frameAt);
  const packetAt = frameAt + header.length;
  for (const text of command.payloads) {
    const payload = Buffer.from(text, "latin1");
    arena.bytes.set(payload, packetAt + udpHeadroomBytes(!host.includes(":")));
    const length = stack.frameDatagram(flow, arena, packetAt, payload.length, performance.now());
    connection.engine.datagramSend(frameAt, header.length + length);
    connection.touch();
  }
  const deadline = performance.now() + (command.ms ?? 3_000);
  const wanted = command.replies ?? command.payloads.length;
  turnUntil(() => replies.length >= wanted || refused > 0 || performance.now() > deadline, COMMAND_MS, "replies");
  return { replies, refused, strays };
}

/** Sends a packet as it is and returns the packets that came within a time. */
function raw(command: PacketCommand & { do: "raw" }): PacketResult {
  packets = [];
  const bytes = Buffer.from(command.hex, "hex");
  const header = wrapper();
  arena.bytes.set(header, frameAt);
  arena.bytes.set(bytes, frameAt + header.length);
  connection.engine.datagramSend(frameAt, header.length + bytes.length);
  connection.touch();
  const deadline = performance.now() + (command.ms ?? 1_000);
  const wanted = command.packets ?? 1;
  turnUntil(() => packets.length >= wanted || performance.now() > deadline, COMMAND_MS, "answer");
  return { packets };
}

function perform(command: PacketCommand): PacketResult {
  switch (command.do) {
    case "tcp":
      return tcp(command);
    case "many":
      return many(command);
    case "udp":
      return udp(command);
    case "raw":
      return raw(command);
  }
}

turnUntil(() => agent.isRegistered, 10_000, "registration");
for (const text of Deno.args.slice(1)) {
  const command = JSON.parse(text) as PacketCommand;
  console.log(JSON.stringify(perform(command)));
}
agent.close();
Deno.exit(0);
