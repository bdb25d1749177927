/** The four properties of the packet codecs: round trip, length, bit flips, truncation; and rewriting equals encoding anew. */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { checksumOf, foldSum, packetMemory, packetMemoryOf, sumWords, updateChecksum16, updateChecksum32 } from "./checksum.ts";
import { decodeIcmp, encodeEcho, IcmpHeader, icmpHeadroomBytes } from "./icmp.ts";
import { copyEnds, decodeIp, type IpEnds, IpHeader, ipHeaderBytes, IpProtocol } from "./ip.ts";
import { rewriteEnd } from "./rewrite.ts";
import { decodeTcp, encodeTcp, TcpHeader, tcpHeaderBytes } from "./tcp.ts";
import { decodeUdp, encodeUdp, UdpHeader, udpHeadroomBytes } from "./udp.ts";

const int32 = fc.integer({ min: -0x80000000, max: 0x7fffffff });
const port = fc.integer({ min: 1, max: 65535 });
const u16 = fc.integer({ min: 0, max: 65535 });
const payload = fc.uint8Array({ maxLength: 300 });

const v4Ends: fc.Arbitrary<IpEnds> = fc.record({ source3: int32, destination3: int32 }).map((words) => ({
  isIpv4: true,
  source0: 0,
  source1: 0,
  source2: 0xffff,
  destination0: 0,
  destination1: 0,
  destination2: 0xffff,
  ...words,
}));
const v6Ends: fc.Arbitrary<IpEnds> = fc.record({
  isIpv4: fc.constant(false),
  source0: int32,
  source1: int32,
  source2: int32,
  source3: int32,
  destination0: int32,
  destination1: int32,
  destination2: int32,
  destination3: int32,
}).filter((ends) => ends.source0 !== 0 && ends.destination0 !== 0);
const anyEnds = fc.oneof(v4Ends, v6Ends);

const tcpHeader: fc.Arbitrary<TcpHeader> = fc.record({
  sourcePort: port,
  destinationPort: port,
  sequence: int32,
  acknowledgement: int32,
  flags: fc.integer({ min: 0, max: 255 }),
  window: u16,
  options: fc.oneof(
    fc.constant({}),
    fc.record({ mssBytes: port, windowScale: fc.integer({ min: -1, max: 14 }), sackPermitted: fc.boolean() }),
    fc.record({ hasTimestamp: fc.constant(true), timestampValue: int32, timestampEcho: int32 }),
    fc.array(int32, { minLength: 2, maxLength: 8 }).map((edges) => ({
      sackCount: edges.length >> 1,
      sackEdges: Int32Array.from({ length: 8 }, (_, i) => i < (edges.length & ~1) ? edges[i] ?? 0 : 0),
    })),
  ),
}).map(({ options, ...fields }) => Object.assign(new TcpHeader(), fields, options));

function plainEnds(ends: IpEnds): IpEnds {
  const out = new IpHeader();
  copyEnds(ends, out, false);
  const { isIpv4, source0, source1, source2, source3, destination0, destination1, destination2, destination3 } = out;
  return { isIpv4, source0, source1, source2, source3, destination0, destination1, destination2, destination3 };
}

/** A packet at a random offset of larger memory full of noise, so that a codec that looks elsewhere is found out. */
function place(offset: number) {
  const memory = packetMemory(600 + offset);
  memory.bytes.fill(0xa5);
  return memory;
}

function buildTcp(ends: IpEnds, header: TcpHeader, data: Uint8Array, offset: number) {
  const memory = place(offset);
  header.payloadBytes = data.length;
  const headers = ipHeaderBytes(ends.isIpv4) + tcpHeaderBytes(header);
  memory.bytes.set(data, offset + headers);
  const length = encodeTcp(memory, offset, ends, header);
  assertEquals(length, headers + data.length);
  assert(memory.bytes.subarray(0, offset).every((byte) => byte === 0xa5), "nothing written in front");
  assert(memory.bytes.subarray(offset + length).every((byte) => byte === 0xa5), "nothing written behind");
  return { memory, length };
}

function decodesAs(memory: ReturnType<typeof place>, offset: number, length: number): string {
  const ip = new IpHeader();
  const verdict = decodeIp(memory, offset, length, ip);
  if (verdict !== "ok") return verdict;
  if (ip.protocol === IpProtocol.tcp) return decodeTcp(memory, ip, new TcpHeader());
  if (ip.protocol === IpProtocol.udp) return decodeUdp(memory, ip, new UdpHeader());
  if (ip.protocol === (ip.isIpv4 ? IpProtocol.icmp : IpProtocol.icmpv6)) return decodeIcmp(memory, ip, new IcmpHeader());
  return "protocol";
}

Deno.test("TCP: what is encoded decodes to the same, at the same length", () => {
  fc.assert(fc.property(anyEnds, tcpHeader, payload, fc.nat(40), (ends, header, data, offset) => {
    const { memory, length } = buildTcp(ends, header, data, offset);
    const ip = new IpHeader(), tcp = new TcpHeader();
    assertEquals(decodeIp(memory, offset, length, ip), "ok");
    assertEquals(decodeTcp(memory, ip, tcp), "ok");
    assertEquals(plainEnds(ip), plainEnds(ends));
    assertEquals(memory.bytes.slice(tcp.payloadOffset, tcp.payloadOffset + tcp.payloadBytes), data);
    header.payloadOffset = tcp.payloadOffset;
    assertEquals({ ...tcp, sackEdges: tcp.sackEdges.slice(0, 2 * tcp.sackCount) }, {
      ...header,
      sackEdges: header.sackEdges.slice(0, 2 * header.sackCount),
    });
  }));
});

Deno.test("UDP: what is encoded decodes to the same, at the same length", () => {
  fc.assert(fc.property(anyEnds, u16, port, payload, fc.boolean(), (ends, source, destination, data, plain) => {
    const memory = place(3);
    memory.bytes.set(data, 3 + udpHeadroomBytes(ends.isIpv4));
    const length = encodeUdp(memory, 3, ends, source, destination, data.length, plain ? "none" : "computed");
    assertEquals(length, udpHeadroomBytes(ends.isIpv4) + data.length);
    const ip = new IpHeader(), udp = new UdpHeader();
    assertEquals([decodeIp(memory, 3, length, ip), decodeUdp(memory, ip, udp)], ["ok", "ok"]);
    assertEquals([udp.sourcePort, udp.destinationPort], [source, destination]);
    assertEquals(memory.bytes.slice(udp.payloadOffset, udp.payloadOffset + udp.payloadBytes), data);
  }));
});

Deno.test("ICMP echo: what is encoded decodes to the same, at the same length", () => {
  fc.assert(fc.property(anyEnds, u16, u16, payload, fc.boolean(), (ends, identifier, sequence, data, isRequest) => {
    const memory = place(1);
    memory.bytes.set(data, 1 + icmpHeadroomBytes(ends.isIpv4));
    const kind = isRequest ? "echo-request" as const : "echo-reply" as const;
    const length = encodeEcho(memory, 1, ends, kind, identifier, sequence, data.length);
    const ip = new IpHeader(), icmp = new IcmpHeader();
    assertEquals([decodeIp(memory, 1, length, ip), decodeIcmp(memory, ip, icmp)], ["ok", "ok"]);
    assertEquals([icmp.kind, icmp.identifier, icmp.sequence], [kind, identifier, sequence]);
    assertEquals(memory.bytes.slice(icmp.bodyOffset, icmp.bodyOffset + icmp.bodyBytes), data);
  }));
});

Deno.test("a flipped bit in a TCP packet over IPv4 is always found", () => {
  fc.assert(fc.property(v4Ends, tcpHeader, payload, fc.nat(), (ends, header, data, at) => {
    const { memory, length } = buildTcp(ends, header, data, 0);
    const bit = at % (8 * length);
    memory.bytes[bit >> 3] = (memory.bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    assert(decodesAs(memory, 0, length) !== "ok");
  }));
});

Deno.test("a flipped bit behind the IPv6 header's first eight bytes is always found", () => {
  fc.assert(fc.property(v6Ends, tcpHeader, payload, fc.nat(), (ends, header, data, at) => {
    const { memory, length } = buildTcp(ends, header, data, 0);
    const bit = 64 + at % (8 * (length - 8));
    memory.bytes[bit >> 3] = (memory.bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    assert(decodesAs(memory, 0, length) !== "ok");
  }));
});

Deno.test("a flipped bit in a UDP packet is found, unless it removes the checksum and nothing else", () => {
  fc.assert(fc.property(v4Ends, port, port, payload, fc.nat(), (ends, source, destination, data, at) => {
    const memory = place(0);
    memory.bytes.set(data, 28);
    const length = encodeUdp(memory, 0, ends, source, destination, data.length);
    const bit = at % (8 * length);
    memory.bytes[bit >> 3] = (memory.bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    const isUnchecked = memory.view.getUint16(26) === 0;
    assert(isUnchecked || decodesAs(memory, 0, length) !== "ok");
  }));
});

Deno.test("a packet cut short, or with bytes behind it, is refused", () => {
  fc.assert(fc.property(anyEnds, tcpHeader, payload, fc.nat(), (ends, header, data, at) => {
    const { memory, length } = buildTcp(ends, header, data, 0);
    assertEquals(decodeIp(memory, 0, at % length, new IpHeader()), "truncated");
    assertEquals(decodeIp(memory, 0, length + 1, new IpHeader()), "length-mismatch");
  }));
});

Deno.test("no bytes make a decoder throw", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 120 }), fc.constantFrom(0x45, 0x46, 0x60), fc.boolean(), (bytes, first, lengthen) => {
      if (bytes.length > 0) bytes[0] = first;
      const memory = packetMemoryOf(new Uint8Array(bytes));
      if (lengthen && bytes.length >= 40) {
        memory.view.setUint16(first === 0x60 ? 4 : 2, first === 0x60 ? bytes.length - 40 : bytes.length);
        if (first !== 0x60) {
          memory.view.setUint16(10, 0);
          memory.view.setUint16(10, checksumOf(memory.view, 0, (first & 15) * 4));
        }
      }
      decodesAs(memory, 0, bytes.length);
    }),
    { numRuns: 2000 },
  );
});

Deno.test("a checksum updated for a changed word is that of the changed bytes", () => {
  fc.assert(fc.property(fc.uint8Array({ minLength: 20, maxLength: 90 }), fc.nat(), u16, int32, (bytes, at, word, long) => {
    const memory = packetMemoryOf(new Uint8Array(bytes));
    // A sum of zeros only has two representations; RFC 1624 §3 keeps ours for every packet with a non-zero word elsewhere.
    memory.bytes[0] = 0x45;
    const position = 4 + 2 * (at % ((bytes.length - 8) >> 1));
    const before = checksumOf(memory.view, 0, bytes.length);
    const from = memory.view.getUint16(position);
    memory.view.setUint16(position, word);
    const after16 = updateChecksum16(before, from, word);
    assertEquals(foldSum(sumWords(memory.view, 0, bytes.length, after16)), 0xffff);
    const from32 = memory.view.getInt32(position);
    memory.view.setInt32(position, long);
    const after32 = updateChecksum32(after16, from32, long);
    assertEquals(foldSum(sumWords(memory.view, 0, bytes.length, after32)), 0xffff);
  }));
});

Deno.test("a rewritten end makes a packet that holds and says the new end", () => {
  fc.assert(
    fc.property(anyEnds, tcpHeader, payload, port, fc.array(int32, { minLength: 4, maxLength: 4 }), fc.boolean(), fc.nat(2), (
      ends,
      header,
      data,
      newPort,
      words,
      isSource,
      protocol,
    ) => {
      const { isIpv4 } = ends;
      const memory = place(0);
      const headers =
        [ipHeaderBytes(isIpv4) + tcpHeaderBytes(header), udpHeadroomBytes(isIpv4), icmpHeadroomBytes(isIpv4)][protocol] ?? 0;
      memory.bytes.set(data, headers);
      header.payloadBytes = data.length;
      const length = protocol === 0
        ? encodeTcp(memory, 0, ends, header)
        : protocol === 1
        ? encodeUdp(memory, 0, ends, header.sourcePort, header.destinationPort, data.length)
        : encodeEcho(memory, 0, ends, "echo-request", header.sourcePort, 1, data.length);
      const ip = new IpHeader();
      assertEquals(decodeIp(memory, 0, length, ip), "ok");
      const [w0 = 0, w1 = 0, w2 = 0, word3 = 0] = words;
      const to = { word0: isIpv4 ? 0 : w0 | 1, word1: isIpv4 ? 0 : w1, word2: isIpv4 ? 0xffff : w2, word3, port: newPort };
      assert(rewriteEnd(memory, ip, isSource ? "source" : "destination", to));
      assertEquals(decodesAs(memory, 0, length), "ok");
      decodeIp(memory, 0, length, ip);
      assertEquals(isSource ? [ip.source0, ip.source3] : [ip.destination0, ip.destination3], [to.word0, to.word3]);
      const portAt = ip.payloadOffset + (protocol === 2 ? 4 : isSource ? 0 : 2);
      assertEquals(memory.view.getUint16(portAt), newPort);
    }),
  );
});
