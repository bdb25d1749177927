/** Golden packets, byte for byte, and every verdict of the packet decoders by an example. */
import { assert, assertEquals } from "@std/assert";
import { fromHex, toHex } from "../../base/mod.ts";
import { type PacketMemory, packetMemory, packetMemoryOf } from "./checksum.ts";
import {
  decodeIcmp,
  decodeQuote,
  encodeEcho,
  encodeTooBig,
  encodeUnreachable,
  IcmpHeader,
  icmpHeadroomBytes,
  IcmpQuote,
} from "./icmp.ts";
import { decodeIp, endText, type IpEnds, IpHeader, ipHeaderBytes, isUnicastSource, parseEnds } from "./ip.ts";
import { rewriteEnd } from "./rewrite.ts";
import { decodeTcp, encodeTcp, TcpFlag, TcpHeader, tcpHeaderBytes } from "./tcp.ts";
import { decodeUdp, encodeUdp, UdpHeader, udpHeadroomBytes } from "./udp.ts";

const UDP_HELLO = "45000021000040004011b1670a0000647f0000013039270f000d000048656c6c6f";
const SYN = "45000028000040004006cc29644000010a6400029c400050000003e8000000005002ffffa0c30000";
const SYN_ACK = "45000028000040004006cc290a6400026440000100509c4000001388000003e95012ffff8d2a0000";
const RST_ACK = "45000028000040004006cc290a6400026440000100509c4000000000000003e950140000a0b00000";
const ECHO_BODY = "08005435123400016162636465666768";
const ECHO_REPLY = "45000024000040004001cc330a6400016440000100005c35123400016162636465666768";

function memoryOf(hex: string): PacketMemory {
  return packetMemoryOf(fromHex(hex) ?? new Uint8Array());
}

function ends(source: string, destination: string): IpEnds {
  const parsed = parseEnds(source, destination);
  assert(parsed !== null);
  return parsed;
}

function segment(sourcePort: number, destinationPort: number, fields: Partial<TcpHeader>): TcpHeader {
  return Object.assign(new TcpHeader(), { sourcePort, destinationPort, ...fields });
}

function hexOf(memory: PacketMemory, length: number): string {
  return toHex(memory.bytes.subarray(0, length));
}

/** Decodes the packet in `hex` as IP after `change` was made to its bytes. */
function verdictAfter(hex: string, change: (bytes: Uint8Array) => void, cut = 0): string {
  const memory = memoryOf(hex);
  change(memory.bytes);
  return decodeIp(memory, 0, memory.bytes.length - cut, new IpHeader());
}

/** Makes the IPv4 header's checksum right again. */
function fixHeader(bytes: Uint8Array): void {
  bytes[10] = bytes[11] = 0;
  let sum = 0;
  for (let i = 0; i < ((bytes[0] ?? 0) & 15) * 4; i += 2) sum += (bytes[i] ?? 0) << 8 | (bytes[i + 1] ?? 0);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = ~((sum & 0xffff) + (sum >> 16)) & 0xffff;
  bytes[10] = sum >> 8;
  bytes[11] = sum & 255;
}

Deno.test("UDP golden vector decodes and encodes byte for byte", () => {
  const memory = memoryOf(UDP_HELLO);
  const ip = new IpHeader(), udp = new UdpHeader();
  assertEquals(decodeIp(memory, 0, 33, ip), "ok");
  assertEquals(decodeUdp(memory, ip, udp), "ok");
  assertEquals([endText(ip, "source"), udp.sourcePort, endText(ip, "destination"), udp.destinationPort], [
    "10.0.0.100",
    12345,
    "127.0.0.1",
    9999,
  ]);
  assertEquals(new TextDecoder().decode(memory.bytes.subarray(udp.payloadOffset, udp.payloadOffset + udp.payloadBytes)), "Hello");
  const out = packetMemory(64);
  out.bytes.set(new TextEncoder().encode("Hello"), udpHeadroomBytes(true));
  const length = encodeUdp(out, 0, ends("10.0.0.100", "127.0.0.1"), 12345, 9999, 5, "none");
  assertEquals(hexOf(out, length), UDP_HELLO);
});

Deno.test("TCP golden vectors decode and encode byte for byte", () => {
  const ip = new IpHeader(), tcp = new TcpHeader();
  const syn = memoryOf(SYN);
  assertEquals(decodeIp(syn, 0, 40, ip), "ok");
  assertEquals(decodeTcp(syn, ip, tcp), "ok");
  assertEquals([tcp.sourcePort, tcp.destinationPort, tcp.sequence, tcp.flags, tcp.window], [40000, 80, 1000, TcpFlag.syn, 65535]);
  const out = packetMemory(64);
  const forth = ends("100.64.0.1", "10.100.0.2"), back = ends("10.100.0.2", "100.64.0.1");
  const flags = TcpFlag.ack;
  const written = (e: IpEnds, header: TcpHeader) => hexOf(out, encodeTcp(out, 0, e, header));
  assertEquals(written(forth, segment(40000, 80, { sequence: 1000, flags: TcpFlag.syn, window: 65535 })), SYN);
  assertEquals(
    written(back, segment(80, 40000, { sequence: 5000, acknowledgement: 1001, flags: flags | TcpFlag.syn, window: 65535 })),
    SYN_ACK,
  );
  assertEquals(written(back, segment(80, 40000, { acknowledgement: 1001, flags: flags | TcpFlag.rst })), RST_ACK);
});

Deno.test("ICMP echo golden vector: the reply to the request of the vector", () => {
  const request = packetMemory(64);
  request.bytes.set(fromHex(ECHO_BODY.slice(16)) ?? [], icmpHeadroomBytes(true));
  const length = encodeEcho(request, 0, ends("100.64.0.1", "10.100.0.1"), "echo-request", 0x1234, 1, 8);
  assertEquals(toHex(request.bytes.subarray(20, length)), ECHO_BODY);
  const ip = new IpHeader(), icmp = new IcmpHeader();
  assertEquals(decodeIp(request, 0, length, ip), "ok");
  assertEquals(decodeIcmp(request, ip, icmp), "ok");
  assertEquals([icmp.kind, icmp.identifier, icmp.sequence, icmp.bodyBytes], ["echo-request", 0x1234, 1, 8]);
  const reply = packetMemory(64);
  reply.bytes.set(request.bytes.subarray(icmp.bodyOffset, icmp.bodyOffset + icmp.bodyBytes), icmpHeadroomBytes(true));
  const replyLength = encodeEcho(reply, 0, ends("10.100.0.1", "100.64.0.1"), "echo-reply", 0x1234, 1, 8);
  assertEquals(hexOf(reply, replyLength), ECHO_REPLY);
});

Deno.test("an IP packet is refused with its reason", () => {
  const set = (at: number, value: number) => (bytes: Uint8Array) => {
    bytes[at] = value;
    fixHeader(bytes);
  };
  assertEquals(decodeIp(packetMemory(1), 0, 0, new IpHeader()), "truncated");
  assertEquals(verdictAfter(SYN, () => {}, 21), "truncated");
  assertEquals(verdictAfter(SYN, () => {}, 1), "truncated");
  assertEquals(verdictAfter(SYN, set(0, 0x55)), "version");
  assertEquals(verdictAfter(SYN, set(0, 0x44)), "header-length");
  assertEquals(verdictAfter(SYN, (bytes) => bytes[0] = 0x4f), "header-length");
  assertEquals(verdictAfter(SYN, set(3, 19)), "header-length");
  assertEquals(verdictAfter(SYN, set(3, 39)), "length-mismatch");
  assertEquals(verdictAfter(SYN, (bytes) => bytes[8] = 1), "header-checksum");
  assertEquals(verdictAfter(SYN, set(6, 0x20)), "fragment");
  assertEquals(verdictAfter(SYN, set(7, 0x01)), "fragment");
  assertEquals(verdictAfter(SYN, set(6, 0x00)), "ok");
});

Deno.test("a first fragment is told from a later one", () => {
  for (const [high, low, isFirst] of [[0x20, 0, true], [0x20, 1, false], [0, 9, false]] as const) {
    const memory = memoryOf(SYN), ip = new IpHeader();
    memory.bytes[6] = high;
    memory.bytes[7] = low;
    fixHeader(memory.bytes);
    assertEquals(decodeIp(memory, 0, 40, ip), "fragment");
    assertEquals(ip.isFirstFragment, isFirst);
  }
});

Deno.test("IPv6: lengths, extension headers and v4-mapped addresses", () => {
  const memory = packetMemory(128);
  const length = encodeUdp(memory, 0, ends("2001:db8::1", "fd00::2"), 1000, 53, 5);
  const hex = hexOf(memory, length);
  assertEquals(verdictAfter(hex, () => {}), "ok");
  assertEquals(verdictAfter(hex, () => {}, 1), "truncated");
  assertEquals(verdictAfter(hex, (bytes) => bytes[5] = 12), "length-mismatch");
  assertEquals(verdictAfter(hex, (bytes) => bytes[6] = 44), "fragment");
  for (const next of [0, 43, 50, 51, 59, 60]) assertEquals(verdictAfter(hex, (bytes) => bytes[6] = next), "extension-header");
  assertEquals(verdictAfter(hex, (bytes) => bytes.set(fromHex("00000000000000000000ffff0a000001") ?? [], 8)), "mapped-address");
  assertEquals(verdictAfter(hex, (bytes) => bytes.set(fromHex("00000000000000000000ffff0a000001") ?? [], 24)), "mapped-address");
});

Deno.test("addresses are text again", () => {
  const v6 = ends("2001:db8::1", "fe80::ffff:0:5");
  assertEquals([endText(v6, "source"), endText(v6, "destination")], ["2001:db8::1", "fe80::ffff:0:5"]);
  assertEquals(parseEnds("10.0.0.1", "::1"), null);
  assertEquals(parseEnds("10.0.0.256", "10.0.0.1"), null);
});

Deno.test("only a unicast source may be answered", () => {
  const may = (source: string) => isUnicastSource(ends(source, source.includes(":") ? "fd00::1" : "10.0.0.1"));
  assertEquals(["10.1.2.3", "223.255.255.255", "2001:db8::1"].map(may), [true, true, true]);
  assertEquals(["0.0.0.0", "0.1.2.3", "224.0.0.1", "255.255.255.255", "::", "ff02::1"].map(may), Array(6).fill(false));
});

Deno.test("TCP is refused with its reason", () => {
  const verdict = (change: (header: TcpHeader) => void, spoil: (memory: PacketMemory) => void = () => {}, cut = 0) => {
    const memory = packetMemory(128), header = segment(1, 2, { flags: TcpFlag.ack, payloadBytes: 4 });
    change(header);
    const length = encodeTcp(memory, 0, ends("10.0.0.1", "10.0.0.2"), header);
    spoil(memory);
    const ip = new IpHeader();
    decodeIp(memory, 0, length, ip);
    ip.payloadBytes -= cut;
    return decodeTcp(memory, ip, new TcpHeader());
  };
  assertEquals(verdict(() => {}), "ok");
  assertEquals(verdict(() => {}, () => {}, 5), "truncated");
  assertEquals(verdict(() => {}, (memory) => memory.bytes[32] = 0x40), "data-offset");
  assertEquals(verdict(() => {}, (memory) => memory.bytes[32] = 0x70), "data-offset");
  assertEquals(verdict(() => {}, (memory) => memory.bytes[43] = 1), "checksum");
  assertEquals(verdict((header) => header.sourcePort = 0), "port");
  assertEquals(verdict((header) => header.destinationPort = 0), "port");
});

Deno.test("TCP options of impossible length are refused, unknown ones skipped, the end ends", () => {
  const verdict = (optionsHex: string): { verdict: string; tcp: TcpHeader } => {
    const options = fromHex(optionsHex) ?? new Uint8Array();
    const memory = packetMemory(128), header = segment(1, 2, { flags: TcpFlag.syn, payloadBytes: 0, mssBytes: 1 });
    const blank = options.length / 4;
    header.sackCount = 0;
    // A header of the right size, then the options in their place, then the checksum anew by encoding with payload.
    const length = encodeTcp(
      memory,
      0,
      ends("10.0.0.1", "10.0.0.2"),
      { ...header, mssBytes: 0, payloadBytes: options.length } as TcpHeader,
    );
    memory.bytes.set(options, 40);
    memory.bytes[32] = (5 + blank) << 4;
    memory.view.setUint16(36, 0);
    const view = memory.view;
    let sum = 6 + length - 20;
    for (let i = 12; i < length; i += 2) sum += view.getUint16(i);
    sum = (sum & 0xffff) + (sum >>> 16);
    view.setUint16(36, ~((sum & 0xffff) + (sum >>> 16)) & 0xffff);
    const ip = new IpHeader(), tcp = new TcpHeader();
    assertEquals(decodeIp(memory, 0, length, ip), "ok");
    return { verdict: decodeTcp(memory, ip, tcp), tcp };
  };
  for (
    const bad of [
      "02000101",
      "02030101",
      "02050101",
      "03020101",
      "04030001",
      "05030001",
      "05090101",
      "08040101",
      "fe000101",
      "010101fe",
    ]
  ) {
    assertEquals(verdict(bad).verdict, "options", bad);
  }
  const good = verdict("020405b4fe04aabb0303ff01");
  assertEquals([good.verdict, good.tcp.mssBytes, good.tcp.windowScale], ["ok", 1460, 14]);
  const ended = verdict("00040501");
  assertEquals([ended.verdict, ended.tcp.sackPermitted], ["ok", false]);
});

Deno.test("UDP is refused with its reason", () => {
  const verdict = (isV6: boolean, spoil: (view: DataView, at: number) => void) => {
    const memory = packetMemory(128);
    const between = isV6 ? ends("fd00::1", "fd00::2") : ends("10.0.0.1", "10.0.0.2");
    const length = encodeUdp(memory, 0, between, 7, 9, 4);
    const ip = new IpHeader();
    assertEquals(decodeIp(memory, 0, length, ip), "ok");
    spoil(memory.view, ipHeaderBytes(!isV6));
    return decodeUdp(memory, ip, new UdpHeader());
  };
  assertEquals(verdict(false, () => {}), "ok");
  assertEquals(verdict(false, (view, at) => view.setUint16(at + 4, 13)), "truncated");
  assertEquals(verdict(false, (view, at) => view.setUint16(at + 4, 11)), "length-mismatch");
  assertEquals(verdict(false, (view, at) => view.setUint16(at + 4, 7)), "length-mismatch");
  assertEquals(verdict(false, (view, at) => view.setUint8(at + 8, 1)), "checksum");
  assertEquals(verdict(false, (view, at) => view.setUint16(at + 6, 0)), "ok");
  assertEquals(verdict(true, () => {}), "ok");
  assertEquals(verdict(true, (view, at) => view.setUint16(at + 6, 0)), "checksum");
});

Deno.test("a UDP checksum that comes to 0 is written as its other representation", () => {
  const memory = packetMemory(64), between = ends("10.0.0.1", "10.0.0.2");
  // With an empty payload the sum is that of the addresses, twice the length and the ports: the last port makes it 0xffff.
  const missing = 0xffff - ((0x0a00 + 0x0001 + 0x0a00 + 0x0002 + 17 + 8 + 8 + 1000) % 0xffff);
  const length = encodeUdp(memory, 0, between, 1000, missing, 0);
  const ip = new IpHeader();
  assertEquals([decodeIp(memory, 0, length, ip), decodeUdp(memory, ip, new UdpHeader())], ["ok", "ok"]);
  assertEquals(memory.view.getUint16(26), 0xffff);
});

Deno.test("a UDP datagram without checksum has none after its end was rewritten", () => {
  const memory = packetMemory(64);
  const length = encodeUdp(memory, 0, ends("10.0.0.1", "10.0.0.2"), 1000, 53, 10, "none");
  const ip = new IpHeader(), udp = new UdpHeader();
  decodeIp(memory, 0, length, ip);
  assert(rewriteEnd(memory, ip, "source", { word0: 0, word1: 0, word2: 0xffff, word3: 0x64400005, port: 7 }));
  assertEquals([decodeIp(memory, 0, length, ip), decodeUdp(memory, ip, udp), memory.view.getUint16(26)], ["ok", "ok", 0]);
  assertEquals([endText(ip, "source"), udp.sourcePort], ["100.64.0.5", 7]);
});

Deno.test("only TCP, UDP and ICMP echo have an end that can be rewritten", () => {
  const to = { word0: 0, word1: 0, word2: 0xffff, word3: 1, port: 7 };
  const attempt = (change: (ip: IpHeader, memory: PacketMemory) => void) => {
    const memory = memoryOf(ECHO_REPLY), ip = new IpHeader();
    decodeIp(memory, 0, memory.bytes.length, ip);
    change(ip, memory);
    const before = toHex(memory.bytes);
    const isDone = rewriteEnd(memory, ip, "source", to);
    return isDone ? "done" : before === toHex(memory.bytes) ? "left alone" : "spoilt";
  };
  assertEquals(attempt(() => {}), "done");
  assertEquals(attempt((_ip, memory) => memory.bytes[20] = 3), "left alone");
  assertEquals(attempt((ip) => ip.payloadBytes = 7), "left alone");
  for (const protocol of [6, 17]) assertEquals(attempt((ip) => Object.assign(ip, { protocol, payloadBytes: 7 })), "left alone");
  assertEquals(attempt((ip) => ip.protocol = 47), "left alone");
});

Deno.test("ICMP errors of both versions name the flow that they are about", () => {
  for (const [source, destination] of [["10.0.0.1", "10.0.0.2"], ["fd00::1", "fd00::2"]] as const) {
    const original = packetMemory(2000), error = packetMemory(2000);
    const header = segment(40000, 80, { sequence: 77, flags: TcpFlag.ack, payloadBytes: 1400 });
    const originalBytes = encodeTcp(original, 0, ends(source, destination), header);
    const ip = new IpHeader(), icmp = new IcmpHeader(), quote = new IcmpQuote();
    for (const kind of ["port", "prohibited", "too-big"] as const) {
      const back = ends(destination, source);
      const length = kind === "too-big"
        ? encodeTooBig(error, 0, back, 1300, original, 0, originalBytes)
        : encodeUnreachable(error, 0, back, kind, original, 0, originalBytes);
      assertEquals(length, back.isIpv4 ? 576 : 1280);
      assertEquals(decodeIp(error, 0, length, ip), "ok");
      assertEquals(decodeIcmp(error, ip, icmp), "ok");
      assertEquals(icmp.kind, kind === "too-big" ? "too-big" : "unreachable");
      assertEquals(icmp.mtuBytes, kind === "too-big" ? 1300 : 0);
      assertEquals(icmp.isPortUnreachable, kind === "port");
      assert(decodeQuote(error, icmp.bodyOffset, icmp.bodyBytes, quote));
      assertEquals([quote.protocol, quote.sourcePort, quote.destinationPort, quote.sequence], [6, 40000, 80, 77]);
      assertEquals([endText(quote.ends, "source"), endText(quote.ends, "destination")], [source, destination]);
      assertEquals(decodeQuote(error, icmp.bodyOffset, ipHeaderBytes(back.isIpv4) + 7, quote), false);
    }
    const length = encodeUnreachable(error, 0, ends(destination, source), "port", original, 0, originalBytes);
    error.bytes[length - 1] = (error.bytes[length - 1] ?? 0) ^ 1;
    decodeIp(error, 0, length, ip);
    assertEquals(decodeIcmp(error, ip, icmp), "checksum");
  }
});

Deno.test("the TCP header's length is that of its options", () => {
  assertEquals(tcpHeaderBytes(segment(1, 2, {})), 20);
  assertEquals(tcpHeaderBytes(segment(1, 2, { mssBytes: 1460, windowScale: 3, sackPermitted: true })), 32);
  assertEquals(tcpHeaderBytes(segment(1, 2, { sackCount: 4 })), 56);
});
