/** UDP flows and ICMP: replies from where the agent sent to, bounds, life times, errors both ways, echo. */
import { assert, assertEquals } from "@std/assert";
import { fromHex, toHex } from "../../base/mod.ts";
import {
  decodeIcmp,
  decodeIp,
  decodeQuote,
  decodeUdp,
  encodeEcho,
  encodeUdp,
  encodeUnreachable,
  endText,
  IcmpHeader,
  icmpHeadroomBytes,
  IcmpQuote,
  IpHeader,
  type PacketMemory,
  packetMemory,
  packetMemoryOf,
  parseEnds,
  UdpHeader,
  udpHeadroomBytes,
} from "../wire/mod.ts";
import { NETSTACK_LIMITS, type NetStackLimits } from "./limits.ts";
import type { PacketPath } from "./path.ts";
import { NetStack } from "./stack.ts";
import type { FlowHandler, UdpFlow } from "./udp_flows.ts";

const ECHO_REQUEST_BODY = "08005435123400016162636465666768";
const ECHO_REPLY = "45000024000040004001cc330a6400016440000100005c35123400016162636465666768";

/** A stack whose owner takes every flow that it is told to. */
class Ground implements FlowHandler {
  nowMs = 5_000;
  isAccepting = true;
  isEchoing = true;
  events: string[] = [];
  flows: UdpFlow[] = [];
  readonly stack: NetStack;
  readonly path: PacketPath;
  readonly memory = packetMemory(3_000);

  constructor(limits: Partial<NetStackLimits> = {}, agentKey: string | null = null) {
    this.stack = new NetStack({
      onSyn: () => null,
      onSynRefused: () => {},
      onFlow: (flow) => {
        if (!this.isAccepting) return null;
        this.flows.push(flow);
        return this;
      },
      answersEcho: () => this.isEchoing,
      onPathReady: () => this.events.push("ready"),
    }, { limits, entropy: new Uint8Array(16) });
    this.path = this.stack.openPath({ agentKey, maxBytes: 1280 });
  }

  onDatagram(flow: UdpFlow, memory: PacketMemory, offset: number, length: number): void {
    this.events.push(`${flow.id}: ${new TextDecoder().decode(memory.bytes.subarray(offset, offset + length))}`);
  }

  onUnreachable(flow: UdpFlow): void {
    this.events.push(`${flow.id}: unreachable`);
  }

  onEnd(flow: UdpFlow, why: string): void {
    this.events.push(`${flow.id}: ended ${why}`);
  }

  heard(): string[] {
    const { events } = this;
    this.events = [];
    return events;
  }

  send(text: string, remotePort = 1000, source = "100.64.0.1", destination = "10.100.0.2", localPort = 53): Uint8Array {
    const ends = parseEnds(source, destination);
    assert(ends !== null);
    this.memory.bytes.set(new TextEncoder().encode(text), udpHeadroomBytes(ends.isIpv4));
    const length = encodeUdp(this.memory, 0, ends, remotePort, localPort, text.length);
    const packet = this.memory.bytes.slice(0, length);
    this.take(packet);
    return packet;
  }

  take(packet: Uint8Array): void {
    this.memory.bytes.set(packet, 100);
    this.stack.handlePacket(this.path, this.memory, 100, packet.length, this.nowMs);
  }

  poll(): PacketMemory | null {
    const length = this.stack.pollPacket(this.path, this.memory, 0, 1500, this.nowMs);
    return length === 0 ? null : packetMemoryOf(this.memory.bytes.slice(0, length));
  }

  /** The ICMP error that the stack sends next, in words. */
  pollError(): string | null {
    const packet = this.poll();
    if (packet === null) return null;
    const ip = new IpHeader(), icmp = new IcmpHeader(), quote = new IcmpQuote();
    assertEquals([decodeIp(packet, 0, packet.bytes.length, ip), decodeIcmp(packet, ip, icmp)], ["ok", "ok"]);
    assert(decodeQuote(packet, icmp.bodyOffset, icmp.bodyBytes, quote));
    const about = `${endText(quote.ends, "source")}:${quote.sourcePort} > ${
      endText(quote.ends, "destination")
    }:${quote.destinationPort}`;
    const kind = icmp.kind === "too-big" ? `too-big ${icmp.mtuBytes}` : `${icmp.type}/${icmp.code}`;
    return `${kind} from ${endText(ip, "source")} about ${about}`;
  }

  pass(ms: number): void {
    this.nowMs += ms;
    while (this.stack.nextTimeoutMs() <= this.nowMs) this.stack.handleTimeout(this.nowMs);
  }
}

Deno.test("datagrams reach their flow, empty ones too, and replies come from where they were sent to", () => {
  for (const [source, destination] of [["100.64.0.1", "10.100.0.2"], ["fd00::1", "fd00::2"]] as const) {
    const ground = new Ground();
    ground.send("hello", 1000, source, destination);
    ground.send("", 1000, source, destination);
    ground.send("other", 1001, source, destination);
    assertEquals([ground.heard(), ground.stack.flowCount], [["1: hello", "1: ", "2: other"], 2]);
    const flow = ground.flows[0];
    assert(flow !== undefined);
    const headroom = udpHeadroomBytes(flow.ends.isIpv4);
    ground.memory.bytes.set(new TextEncoder().encode("answer"), 200 + headroom);
    const length = ground.stack.frameDatagram(flow, ground.memory, 200, 6, ground.nowMs);
    const ip = new IpHeader(), udp = new UdpHeader();
    assertEquals([decodeIp(ground.memory, 200, length, ip), decodeUdp(ground.memory, ip, udp)], ["ok", "ok"]);
    assertEquals([endText(ip, "source"), udp.sourcePort, endText(ip, "destination"), udp.destinationPort, udp.payloadBytes], [
      destination,
      53,
      source,
      1000,
      6,
    ]);
    assertEquals(ground.stack.frameDatagram(flow, ground.memory, 200, 0, ground.nowMs), headroom);
  }
});

Deno.test("a reply larger than the path is dropped and counted", () => {
  const ground = new Ground();
  ground.send("x");
  const flow = ground.flows[0];
  assert(flow !== undefined);
  assertEquals(ground.stack.frameDatagram(flow, ground.memory, 0, 1252, ground.nowMs), 1280);
  assertEquals(ground.stack.frameDatagram(flow, ground.memory, 0, 1253, ground.nowMs), 0);
  ground.path.maxBytes = 600;
  assertEquals([ground.stack.frameDatagram(flow, ground.memory, 0, 1252, ground.nowMs), ground.stack.counters.udpTooBig], [0, 2]);
});

Deno.test("a flow lives sixty seconds behind its last datagram, in either direction", () => {
  const ground = new Ground();
  ground.send("x");
  ground.pass(50_000);
  ground.send("y");
  ground.pass(50_000);
  const flow = ground.flows[0];
  assert(flow !== undefined);
  ground.stack.frameDatagram(flow, ground.memory, 0, 1, ground.nowMs);
  ground.pass(59_999);
  assertEquals(ground.stack.flowCount, 1);
  ground.pass(1);
  assertEquals([ground.stack.flowCount, ground.heard().at(-1), ground.stack.nextTimeoutMs()], [0, "1: ended idle", Infinity]);
  assertEquals(ground.stack.frameDatagram(flow, ground.memory, 0, 1, ground.nowMs), 0, "an ended flow sends nothing");
  ground.send("z");
  assertEquals(ground.heard(), ["2: z"]);
});

Deno.test("an agent's longest idle flow makes room for its next one; others' flows do not", () => {
  const ground = new Ground({ udpFlowsPerAgentMax: 3, udpFlowsMax: 5 });
  for (const port of [1, 2, 3]) ground.send("x", port);
  ground.send("again", 1);
  ground.send("x", 1, "100.64.0.2");
  ground.heard();
  ground.send("x", 4);
  assertEquals([ground.heard(), ground.stack.flowCount], [["2: ended evicted", "5: x"], 4]);
  ground.send("x", 2, "100.64.0.2");
  ground.send("x", 3, "100.64.0.3");
  assertEquals([ground.stack.flowCount, ground.stack.counters.udpRefusedFlows, ground.stack.counters.udpFlowsEvicted], [5, 1, 1]);
});

Deno.test("ten thousand flows leave nothing behind", () => {
  const ground = new Ground({ udpFlowsMax: 100, udpFlowsPerAgentMax: 50 });
  for (let i = 0; i < 10_000; i++) {
    ground.send("x", 1 + i % 60_000, `100.64.${i % 7}.1`);
    if (i % 97 === 0) ground.pass(1_000);
  }
  assert(ground.stack.flowCount <= 100);
  ground.pass(70_000);
  assertEquals([ground.stack.flowCount, ground.stack.nextTimeoutMs()], [0, Infinity]);
});

Deno.test("agents that went away make room for others", () => {
  const ground = new Ground({ accountsMax: 5 });
  for (let i = 0; i < 30; i++) ground.send("x", 1000, `100.64.${i}.1`);
  assertEquals([ground.stack.flowCount, ground.stack.counters.udpRefusedFlows], [5, 25]);
  ground.pass(61_000);
  for (let i = 0; i < 5; i++) ground.send("x", 1000, `100.65.${i}.1`);
  assertEquals(ground.stack.flowCount, 5);
});

Deno.test("a refused datagram gets port unreachable about itself", () => {
  const ground = new Ground();
  ground.isAccepting = false;
  ground.send("hello");
  assertEquals(ground.pollError(), "3/3 from 10.100.0.2 about 100.64.0.1:1000 > 10.100.0.2:53");
  ground.send("hello", 1000, "fd00::1", "fd00::2");
  assertEquals(ground.pollError(), "1/4 from fd00::2 about fd00::1:1000 > fd00::2:53");
  assertEquals([ground.stack.flowCount, ground.stack.counters.udpRefusedByOwner], [0, 2]);
});

Deno.test("what the backend says goes back as an ICMP error about the flow", () => {
  const ground = new Ground();
  for (const [source, destination, port] of [["100.64.0.1", "10.100.0.2", "3/3"], ["fd00::1", "fd00::2", "1/4"]] as const) {
    ground.send("x".repeat(900), 1000, source, destination);
    const flow = ground.flows.at(-1);
    assert(flow !== undefined);
    ground.stack.flowRefused(flow, ground.nowMs);
    const about = `from ${destination} about ${source}:1000 > ${destination}:53`;
    assertEquals(ground.pollError(), `${port} ${about}`);
    ground.stack.flowTooBig(flow, 700, ground.nowMs);
    assertEquals(ground.pollError(), `too-big 700 ${about}`);
  }
});

Deno.test("ICMP errors have a rate", () => {
  const ground = new Ground({ icmpErrorsPerSecondMax: 5 });
  ground.isAccepting = false;
  const errors = () => {
    let count = 0;
    for (let i = 0; i < 20; i++) ground.send("x");
    while (ground.pollError() !== null) count++;
    return count;
  };
  assertEquals(errors(), 5);
  ground.pass(1_000);
  assertEquals([errors(), ground.stack.counters.icmpErrorsSuppressed], [5, 30]);
});

Deno.test("an ICMP error about a flow of ours reaches it, one about a foreign flow nobody", () => {
  const ground = new Ground();
  ground.send("x");
  ground.heard();
  const flow = ground.flows[0];
  assert(flow !== undefined);
  const reply = packetMemory(100), error = packetMemory(600), ends = parseEnds("100.64.0.1", "10.100.0.2");
  assert(ends !== null);
  const length = ground.stack.frameDatagram(flow, reply, 0, 10, ground.nowMs);
  const errorBytes = encodeUnreachable(error, 0, ends, "port", reply, 0, length);
  ground.take(error.bytes.slice(0, errorBytes));
  reply.bytes[21] = 99;
  const otherBytes = encodeUnreachable(error, 0, ends, "port", reply, 0, length);
  ground.take(error.bytes.slice(0, otherBytes));
  assertEquals([ground.heard(), ground.stack.counters.icmpIgnored], [["1: unreachable"], 1]);
});

Deno.test("a flow that we open hears the answers to it", () => {
  const ground = new Ground();
  const ends = parseEnds("10.100.0.2", "100.64.0.1");
  assert(ends !== null);
  const flow = ground.stack.openFlow(ground.path, ends, 53, 1000, ground, ground.nowMs);
  assert(flow !== null);
  assertEquals(ground.stack.openFlow(ground.path, ends, 53, 1000, ground, ground.nowMs), null, "once");
  ground.send("answer");
  assertEquals(ground.heard(), ["1: answer"]);
  ground.stack.closeFlow(flow, ground.nowMs);
  ground.stack.closeFlow(flow, ground.nowMs);
  assertEquals(ground.heard(), ["1: ended closed"]);
});

Deno.test("a path that closes ends its flows", () => {
  const ground = new Ground();
  ground.send("x");
  ground.stack.closePath(ground.path, ground.nowMs);
  assertEquals([ground.heard(), ground.stack.flowCount], [["1: x", "1: ended path-closed"], 0]);
});

Deno.test("an echo request is answered byte for byte, to our addresses only, and within the path", () => {
  const ground = new Ground();
  const ends = parseEnds("100.64.0.1", "10.100.0.1");
  assert(ends !== null);
  const request = packetMemory(1400);
  const send = (dataBytes: number) => {
    request.bytes.set(fromHex(ECHO_REQUEST_BODY.slice(16)) ?? [], icmpHeadroomBytes(true));
    const length = encodeEcho(request, 0, ends, "echo-request", 0x1234, 1, dataBytes);
    ground.take(request.bytes.subarray(0, length));
  };
  send(8);
  assertEquals(ground.heard(), ["ready"]);
  assertEquals(toHex(ground.poll()?.bytes ?? new Uint8Array()), ECHO_REPLY);
  send(1252);
  assertEquals(ground.poll()?.bytes.length, 1280);
  send(1253);
  ground.isEchoing = false;
  send(8);
  assertEquals([ground.poll(), ground.stack.counters.echoTooBig, ground.stack.counters.echoRefused], [null, 1, 1]);
});

Deno.test("an IPv6 echo request is answered", () => {
  const ground = new Ground();
  const ends = parseEnds("fd00::1", "fd00::2"), request = packetMemory(200);
  assert(ends !== null);
  ground.take(request.bytes.slice(0, encodeEcho(request, 0, ends, "echo-request", 7, 8, 30)));
  const reply = ground.poll();
  const ip = new IpHeader(), icmp = new IcmpHeader();
  assert(reply !== null);
  assertEquals([decodeIp(reply, 0, reply.bytes.length, ip), decodeIcmp(reply, ip, icmp)], ["ok", "ok"]);
  assertEquals([icmp.kind, icmp.identifier, icmp.sequence, icmp.bodyBytes, endText(ip, "source")], [
    "echo-reply",
    7,
    8,
    30,
    "fd00::2",
  ]);
});

Deno.test("packets that are not served are counted by their reason, and a first fragment is answered", () => {
  const ground = new Ground();
  const packet = ground.send("fragment me");
  ground.heard();
  const spoilt = (change: (bytes: Uint8Array) => void) => {
    const bytes = Uint8Array.from(packet);
    change(bytes);
    if (bytes[0] === 0x45) {
      bytes[10] = bytes[11] = 0;
      let sum = 0;
      for (let i = 0; i < 20; i += 2) sum += (bytes[i] ?? 0) << 8 | (bytes[i + 1] ?? 0);
      sum = (sum & 0xffff) + (sum >> 16);
      sum = ~((sum & 0xffff) + (sum >> 16)) & 0xffff;
      bytes[10] = sum >> 8;
      bytes[11] = sum & 255;
    }
    ground.take(bytes);
  };
  spoilt((bytes) => bytes[6] = 0x20);
  assertEquals(ground.pollError(), "3/13 from 10.100.0.2 about 100.64.0.1:1000 > 10.100.0.2:53");
  spoilt((bytes) => bytes[7] = 0x05);
  assertEquals(ground.pollError(), null, "a later fragment is not");
  spoilt((bytes) => bytes[9] = 47);
  spoilt((bytes) => bytes[12] = 0xe0);
  spoilt((bytes) => bytes[0] = 0x35);
  const { ipFragment, ipProtocol, ipSourceAddress, ipVersion, packetsReceived } = ground.stack.counters;
  assertEquals({ ipFragment, ipProtocol, ipSourceAddress, ipVersion, packetsReceived }, {
    ipFragment: 2,
    ipProtocol: 1,
    ipSourceAddress: 1,
    ipVersion: 1,
    packetsReceived: 6,
  });
  assertEquals([ground.poll(), ground.heard().filter((event) => event !== "ready")], [null, []]);
});

Deno.test("answers without a session are bounded", () => {
  const ground = new Ground();
  ground.isAccepting = false;
  for (let i = 0; i < 500; i++) ground.send("x");
  let count = 0;
  while (ground.poll() !== null) count++;
  assertEquals(count, NETSTACK_LIMITS.controlQueueMax);
  assert(ground.stack.counters.controlDropped > 0);
});
