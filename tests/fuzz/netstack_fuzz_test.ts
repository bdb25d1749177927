/**
 * Random and spoilt packets into a stack that has sessions and flows in every state: nothing throws, what leaves is always a
 * packet that holds, and memory stays within its bounds. Seeded: a failure names its seed.
 *
 * POSTERN_FUZZ_PACKETS=N for more packets (10,000,000 for a night), POSTERN_FUZZ_SEED=N for another story.
 */
import { assert, assertEquals } from "@std/assert";
import {
  checksumOf,
  clearTcpOptions,
  decodeIcmp,
  decodeIp,
  decodeTcp,
  decodeUdp,
  encodeEcho,
  encodeTcp,
  encodeTooBig,
  encodeUdp,
  foldSum,
  IcmpHeader,
  type IpEnds,
  IpHeader,
  ipHeaderBytes,
  IpProtocol,
  packetMemory,
  parseEnds,
  pseudoHeaderSum,
  sumWords,
  TcpFlag,
  TcpHeader,
  tcpHeaderBytes,
  UdpHeader,
} from "../../src/core/wire/mod.ts";
import { type FlowHandler, NetStack, type SessionHandler, type TcpSession } from "../../src/core/netstack/mod.ts";
import { randomFrom } from "../sim/netstack_world_fixture.ts";

const PACKETS = Number(Deno.env.get("POSTERN_FUZZ_PACKETS") ?? 200_000);
const SEED = Number(Deno.env.get("POSTERN_FUZZ_SEED") ?? 1);
const BUFFERS_MAX_BYTES = 4 * 1024 * 1024;

const random = randomFrom(SEED);
const below = (n: number) => Math.floor(random() * n);
const one = <T>(values: readonly [T, ...T[]]): T => values[below(values.length)] ?? values[0];
const chance = (p: number) => random() < p;

const memory = packetMemory(4_096);
const out = packetMemory(4_096);
const everyEnds = [["100.64.0.1", "10.100.0.2"], ["100.64.0.2", "10.100.0.2"], ["fd00::1", "fd00::2"]].map(
  ([source, destination]) => {
    const ends = parseEnds(source ?? "", destination ?? "");
    assert(ends !== null);
    return ends;
  },
) as [IpEnds, ...IpEnds[]];

const ip = new IpHeader();
let nowMs = 1_000;
let live: TcpSession[] = [];

/** An owner that does anything at any time. */
const session: SessionHandler = {
  onOpen: () => {},
  onData: (at, _memory, _offset, length) => {
    if (chance(0.01)) stack.abort(at, nowMs);
    return chance(0.2) ? below(length + 1) : length;
  },
  onFin: (at) => {
    if (chance(0.5)) stack.shutdownWrite(at, nowMs);
  },
  onWritable: (at) => {
    stack.write(at, memory, 0, below(2_000), nowMs);
  },
  onClosed: (at) => {
    live = live.filter((other) => other !== at);
  },
};
const flow: FlowHandler = { onDatagram: () => {}, onUnreachable: () => {}, onEnd: () => {} };
const stack: NetStack = new NetStack({
  onSyn: (at) => {
    if (chance(0.1)) return null;
    live.push(at);
    if (chance(0.8)) stack.accept(at, nowMs);
    return session;
  },
  onSynRefused: () => {},
  onFlow: () => chance(0.8) ? flow : null,
  answersEcho: () => chance(0.5),
  onPathReady: () => {},
}, {
  entropy: Uint8Array.from({ length: 16 }, () => below(256)),
  holdsData: SEED % 2 === 1,
  limits: {
    buffersTotalMaxBytes: BUFFERS_MAX_BYTES,
    synPerSourcePerSecondMax: 1_000_000,
    sessionsMax: 64,
    udpFlowsMax: 64,
    timeWaitMax: 32,
  },
});
const path = stack.openPath({ agentKey: "agent", maxBytes: 1306 });

const tcp = new TcpHeader();

/** A segment that may well belong to a session: its ends, and numbers near those that it expects. */
function writeSegment(): number {
  const target = live[below(Math.max(1, live.length))];
  const ends = one(everyEnds);
  clearTcpOptions(tcp);
  tcp.sourcePort = 40_000 + below(8);
  tcp.destinationPort = 80;
  tcp.flags = one([TcpFlag.syn, TcpFlag.ack, TcpFlag.ack | TcpFlag.psh, TcpFlag.ack | TcpFlag.fin, TcpFlag.rst, below(256)]);
  tcp.sequence = below(2 ** 32) | 0;
  tcp.acknowledgement = below(2 ** 32) | 0;
  let to: IpEnds = ends;
  if (target !== undefined && chance(0.8)) {
    tcp.sourcePort = target.remotePort;
    tcp.destinationPort = target.localPort;
    tcp.sequence = (target.receive.next + one([0, 0, 0, -1, 1, below(3_000) - 1_500, below(100_000)])) | 0;
    tcp.acknowledgement = (one([target.send.next, target.send.una]) + one([0, 0, 0, 1, -1, below(3_000) - 1_500])) | 0;
    to = everyEnds.find((e) => e.source3 === target.ends.destination3 && e.isIpv4 === target.ends.isIpv4) ?? ends;
  }
  tcp.window = one([0, 1, 65_535, below(65_536)]);
  if (chance(0.2)) tcp.mssBytes = one([0, 1, 536, 1460, 65_535]);
  if (chance(0.2)) tcp.windowScale = below(15);
  tcp.sackPermitted = chance(0.3);
  if (chance(0.2)) {
    tcp.sackCount = 1 + below(2);
    const base = target?.send.una ?? 0;
    for (let i = 0; i < 2 * tcp.sackCount; i++) tcp.sackEdges[i] = (base + below(5_000) - 500) | 0;
  }
  tcp.payloadBytes = chance(0.5) ? 0 : below(1_200);
  if (tcpHeaderBytes(tcp) + ipHeaderBytes(to.isIpv4) + tcp.payloadBytes > 1_306) tcp.payloadBytes = 0;
  return encodeTcp(memory, 0, to, tcp);
}

const quoted = packetMemory(4_096);
let quotedBytes = 0;

function writePacket(): number {
  const ends = one(everyEnds);
  const kind = below(10);
  if (kind < 6) return writeSegment();
  if (kind === 6) return encodeUdp(memory, 0, ends, 1 + below(100), below(3), below(1_200));
  if (kind === 7) {
    return encodeEcho(memory, 0, ends, one(["echo-request", "echo-reply"]), below(65_536), below(65_536), below(1_200));
  }
  if (kind === 8) {
    // About something that the stack sent a while ago.
    const isIpv4 = ((quoted.bytes[0] ?? 0) >> 4) === 4;
    const about = everyEnds.find((e) => e.isIpv4 === isIpv4) ?? ends;
    return encodeTooBig(memory, 0, about, below(1_400), quoted, 0, Math.max(64, quotedBytes));
  }
  const length = below(200);
  for (let i = 0; i < length; i++) memory.bytes[i] = below(256);
  memory.bytes[0] = one([0x45, 0x46, 0x60, below(256)]);
  return length;
}

function spoil(length: number): number {
  for (let i = below(4); i > 0; i--) memory.bytes[below(Math.max(1, length))] = below(256);
  const kept = chance(0.2) ? below(length + 1) : length;
  if (chance(0.6)) repair(kept);
  return kept;
}

/** Makes lengths and checksums right again, so that what is wrong inside is looked at. */
function repair(length: number): void {
  const { view } = memory;
  const isIpv4 = length >= 20 && (view.getUint8(0) >> 4) === 4;
  if (isIpv4) {
    const headerBytes = (view.getUint8(0) & 15) * 4;
    view.setUint16(2, length);
    view.setUint16(6, 0x4000);
    view.setUint16(10, 0);
    if (headerBytes <= length) view.setUint16(10, checksumOf(view, 0, headerBytes));
  } else if (length >= 40) view.setUint16(4, length - 40);
  if (decodeIp(memory, 0, length, ip) !== "ok" || ip.payloadBytes < 20 || ip.protocol !== IpProtocol.tcp) return;
  const at = ip.payloadOffset + 16;
  view.setUint16(at, 0);
  const sum = sumWords(view, ip.payloadOffset, ip.payloadBytes, pseudoHeaderSum(ip, IpProtocol.tcp, ip.payloadBytes));
  view.setUint16(at, ~foldSum(sum) & 0xffff);
}

const headers = { tcp: new TcpHeader(), udp: new UdpHeader(), icmp: new IcmpHeader() };

function checkPacket(length: number): void {
  assert(length <= path.maxBytes, "not larger than the path");
  assertEquals(decodeIp(out, 0, length, ip), "ok");
  if (ip.protocol === IpProtocol.tcp) assertEquals(decodeTcp(out, ip, headers.tcp), "ok");
  else if (ip.protocol === IpProtocol.udp) assertEquals(decodeUdp(out, ip, headers.udp), "ok");
  else assertEquals(decodeIcmp(out, ip, headers.icmp), "ok");
}

/** What an owner might do to one of its sessions. */
function meddle(): void {
  const at = live[below(Math.max(1, live.length))];
  if (at === undefined) return;
  const what = below(20);
  if (what < 8) stack.write(at, memory, 0, below(4_000), nowMs);
  else if (what < 16) stack.windowOpened(at, nowMs);
  else if (what < 18) stack.shutdownWrite(at, nowMs);
  else if (what === 18) stack.abort(at, nowMs);
  else path.maxBytes = 128 + below(1_300);
}

Deno.test(`netstack: ${PACKETS} random and spoilt packets (seed ${SEED}) throw nothing and bind nothing`, () => {
  let polled = 0;
  for (let i = 0; i < PACKETS; i++) {
    nowMs += chance(0.01) ? below(5_000) : below(3);
    let length = writePacket();
    if (chance(0.15)) length = spoil(length);
    stack.handlePacket(path, memory, 0, length, nowMs);
    if (chance(0.2)) meddle();
    if (chance(0.3)) stack.handleTimeout(nowMs);
    if (chance(0.2)) stack.deliver(nowMs);
    for (let n = below(8); n > 0; n--) {
      const sent = stack.pollPacket(path, out, 0, 4_096, nowMs);
      if (sent === 0) break;
      polled++;
      checkPacket(sent);
      if (chance(0.1)) {
        quoted.bytes.set(out.bytes.subarray(0, sent));
        quotedBytes = sent;
      }
    }
    assert(stack.sessionCount <= 64 && stack.timeWaitCount <= 32 && stack.flowCount <= 64, "tables within bounds");
    assert(stack.bufferedBytes <= BUFFERS_MAX_BYTES + 2 * 4_096 * 100, "buffers within bounds");
  }
  assert(polled > PACKETS / 50, "the stack had something to say");
  for (
    const name of [
      "sessionsOpened",
      "sessionsFinished",
      "segmentsOutOfOrder",
      "fastRetransmits",
      "udpFlowsOpened",
      "pathMtuReduced",
    ] as const
  ) assert(PACKETS < 200_000 || stack.counters[name] > 0, `${name}: every part is reached`);
  stack.deliver(nowMs);
  // Whatever is left ends by itself.
  for (let i = 0; i < 10_000 && stack.nextTimeoutMs() !== Infinity; i++) {
    nowMs = Math.max(nowMs, stack.nextTimeoutMs());
    stack.handleTimeout(nowMs);
    while (stack.pollPacket(path, out, 0, 4_096, nowMs) > 0);
  }
  assertEquals([stack.sessionCount, stack.timeWaitCount, stack.flowCount, stack.bufferedBytes], [0, 0, 0, 0]);
});
