/**
 * Everything that makes sense of bytes from outside, as targets for {@linkcode import("./fuzz.ts").fuzz}: with messages to begin from
 * and with what must hold for any input. A target that throws has failed.
 */
import { assert } from "@std/assert";
import fc from "fast-check";
import { bytesEqualAt, fromHex, parseIp, PosternError } from "../../src/base/mod.ts";
import { parseDenyList, parseZtnaName } from "../../src/core/auth/mod.ts";
import { emptyLongHeader, firstPacketBytes, PacketType, readLongHeader, RetryTokens } from "../../src/core/quic/mod.ts";
import { FLOW_LIMITS, flowDropName, FlowTable, Registry } from "../../src/core/registry/mod.ts";
import { SignalReceiver } from "../../src/core/signal/mod.ts";
import * as wire from "../../src/core/wire/mod.ts";
import { parseAddressKeys } from "../../src/config/address_keys.ts";
import { parseLimit } from "../../src/config/limit.ts";
import { createPlaneCrypto } from "../../src/io/mod.ts";
import { readRevocationLists } from "../../src/platform/revocation/mod.ts";
import { createCertificateReader, loadNative } from "../../ffi/mod.ts";
import { createAuthority } from "../pki/mod.ts";
import { type Codec, CODECS } from "../vectors/codecs.ts";
import packets from "../vectors/ip.json" with { type: "json" };

export interface FuzzTarget {
  readonly name: string;
  readonly corpus: readonly Uint8Array[];
  readonly maxBytes: number;
  /** The input stands in `bytes` from `offset` on; what is around it is noise. */
  readonly check: (bytes: Uint8Array, offset: number, length: number) => void;
}

const SAMPLES = 128;
const decoder = new TextDecoder();
const text = (value: string) => new TextEncoder().encode(value);

/** What comes in packets and streams. */
export function wireTargets(): FuzzTarget[] {
  return [...CODECS.map(codecTarget), ...packetTargets(), ...serverTargets(), ...proxyTargets(), dnsQuestion()];
}

/** What comes in files, variables and handshakes. */
export async function documentTargets(): Promise<FuzzTarget[]> {
  return [...textTargets(), ...await certificateTargets()];
}

/** What is taken is written in the same way again; a wish for more is a wish for more than there is. */
function codecTarget(codec: Codec<unknown>): FuzzTarget {
  const values = fc.sample(codec.values, { numRuns: SAMPLES, seed: 1 });
  const again = new Uint8Array(codec.maxBytes);
  return {
    name: codec.name,
    maxBytes: codec.maxBytes + 64,
    corpus: values.map((value) => again.slice(0, codec.encode(again, 0, value))),
    check(bytes, offset, length) {
      const decoded = codec.decode(bytes, offset, length);
      if ("malformed" in decoded) return assert(decoded.malformed !== "", "a refusal without a reason");
      if ("need" in decoded) return assert(decoded.need > length, "a wish for what is there");
      assert(decoded.length <= length, "more was read than there is");
      const written = codec.encode(again, 0, decoded.value);
      if (written === decoded.length) assert(bytesEqualAt(bytes, offset, again, 0, written), "it is written in another way");
      else assert(written < decoded.length && codec.tail === "data", "it is written in another length");
    },
  };
}

function packetTargets(): FuzzTarget[] {
  const corpus = packets.vectors.map(({ hex }) => fromHex(hex) ?? new Uint8Array());
  const ip = new wire.IpHeader(), tcp = new wire.TcpHeader(), udp = new wire.UdpHeader(), icmp = new wire.IcmpHeader();
  const memory = wire.packetMemory(4_096);
  return [{
    name: "inner packets",
    corpus,
    maxBytes: 1_500,
    check(bytes, offset, length) {
      memory.bytes.set(bytes.subarray(offset, offset + length), 16);
      if ((length & 1) === 0) repair(memory.view, 16, length);
      if (wire.decodeIp(memory, 16, length, ip) !== "ok") return;
      wire.decodeTcp(memory, ip, tcp);
      wire.decodeUdp(memory, ip, udp);
      wire.decodeIcmp(memory, ip, icmp);
    },
  }, {
    name: "kinds of DATAGRAMs",
    corpus: [...corpus, fromHex("100473766331") ?? text(""), fromHex("2f0473766331450000") ?? text("")],
    maxBytes: 300,
    check(bytes, offset, length) {
      const kind = wire.classifyFrame(bytes, offset, length);
      assert((kind === wire.FrameKind.empty) === (length === 0));
      const idLength = wire.routedIdLength(bytes, offset, length);
      assert(idLength === 0 || wire.ROUTED_ID_AT + idLength < length, "an id beyond its frame");
    },
  }];
}

/** What local programs say to an agent: a wish is never for more than what is missing for certain, nor beyond the bound. */
function proxyTargets(): FuzzTarget[] {
  type Decoded = { readonly kind: string; readonly length?: number; readonly bytes?: number; readonly headerBytes?: number };
  const target = (
    name: string,
    maxBytes: number,
    corpus: readonly Uint8Array[],
    decode: (bytes: Uint8Array, offset: number, length: number) => Decoded,
  ): FuzzTarget => ({
    name,
    maxBytes: maxBytes + 64,
    corpus,
    check(bytes, offset, length) {
      const decoded = decode(bytes, offset, length);
      if (decoded.kind === "need") {
        const wanted = decoded.bytes ?? 0;
        assert(wanted > length && wanted <= maxBytes, "a wish for what is there, or for too much");
        // One byte less is never enough.
        if (wanted > length + 1) {
          const more = new Uint8Array(wanted - 1);
          more.set(bytes.subarray(offset, offset + length));
          assert(["need", "malformed", "unsupported"].includes(decode(more, 0, wanted - 1).kind), "less would have been enough");
        }
      }
      assert((decoded.length ?? decoded.headerBytes ?? 0) <= length, "more was read than there is");
    },
  });
  const hex = (...values: readonly string[]) => values.map((value) => fromHex(value) ?? text(""));
  const heads = [
    "CONNECT web.ztna:443 HTTP/1.1\r\nHost: web.ztna:443\r\nA: b\r\n\r\n",
    "CONNECT [::1]:1 HTTP/1.0\r\n\r\n",
    "GET / HTTP/1.1\r\n\r\n",
  ];
  return [
    target("SOCKS5 greeting", 257, hex("050100", "05020001", "05ff"), wire.decodeSocksGreeting),
    target(
      "SOCKS5 request",
      262,
      hex("0501000308776562", "050100037765622e7a746e6101bb", "0501000308776562787a746e610050")
        .concat(hex("0501000101020304 0050".replace(" ", ""), `05030004${"00".repeat(18)}`)),
      wire.decodeSocksRequest,
    ),
    target(
      "SOCKS5 datagrams",
      300,
      hex("000000030377656200351234", "00000001c0000207003501", "0000010377"),
      wire.decodeSocksDatagram,
    ),
    target("HTTP CONNECT", wire.CONNECT_HEAD_MAX_BYTES, heads.map(text), wire.decodeConnectHead),
  ];
}

/** Gives an IPv4 packet its length and its header's checksum, so that the decoders behind those see it. */
function repair(view: DataView, at: number, length: number): void {
  const bytes = new Uint8Array(view.buffer);
  const header = ((bytes[at] ?? 0) & 15) * 4;
  if ((bytes[at] ?? 0) >> 4 !== 4 || header < 20 || header > length) return;
  view.setUint16(at + 2, length);
  view.setUint16(at + 10, 0);
  view.setUint16(at + 10, wire.checksumOf(view, at, header));
}

const AGENTS = [1, 2], CONNECTOR = 11;
const FLOWS_MAX = 512;

function serverTargets(): FuzzTarget[] {
  return [quicHeader(), flowTable(), signalReceiver(), retryToken()];
}

function quicHeader(): FuzzTarget {
  const long = (type: number, rest: string) => fromHex(`${(0xc0 | type << 4).toString(16)}00000001${rest}`) ?? text("");
  const ids = "0801020304050607080411121314";
  const header = emptyLongHeader();
  const view = new DataView(new ArrayBuffer(2_048)), memory = new Uint8Array(view.buffer);
  return {
    name: "QUIC headers",
    corpus: [
      long(0, `${ids}03aabbcc4010${"00".repeat(40)}`),
      long(1, `${ids}08${"11".repeat(8)}`),
      long(2, `${ids}4005${"22".repeat(60)}`),
      long(3, `${ids}${"33".repeat(40)}`),
      fromHex(`c000000000${ids}0000000100000002`) ?? text(""),
      fromHex(`40${"44".repeat(40)}`) ?? text(""),
    ],
    maxBytes: 1_500,
    check(bytes, offset, length) {
      if (length === 0) return;
      memory.set(bytes.subarray(offset, offset + length), 5);
      const type = readLongHeader(view, 5, length, header);
      const isRead = type !== PacketType.malformed;
      if (isRead) {
        assert(header.destinationOffset + header.destinationLength <= 5 + length, "an ID beyond the packet");
        assert(header.sourceOffset + header.sourceLength <= 5 + length, "an ID beyond the packet");
      }
      if (type === PacketType.initial) assert(header.tokenOffset + header.tokenLength <= 5 + length, "a token beyond the packet");
      for (let at = 5, left = length; left > 0;) {
        const first = firstPacketBytes(view, at, left, header);
        assert(first > 0 && first <= left, "a packet beyond the payload");
        at += first;
        left -= first;
      }
    },
  };
}

function flowTable(): FuzzTarget {
  const registry = new Registry();
  let random = 1, nowMs = 1_000, turn = 0;
  const flows = new FlowTable(registry, () => random = (Math.imul(random, 1664525) + 1013904223) >>> 0, {
    ...FLOW_LIMITS,
    flowsMax: FLOWS_MAX,
  });
  for (const agent of AGENTS) registry.registerAgent(agent, "web", `id-${agent}`);
  const outcome = registry.registerConnector(CONNECTOR, "web", { identity: "c", label: "", takesStreams: true }, nowMs);
  assert(outcome.kind === "registered");
  const view = new DataView(new ArrayBuffer(2_048)), memory = new Uint8Array(view.buffer);
  return {
    name: "packets at the flow table",
    corpus: packets.vectors.map(({ hex }) => fromHex(hex) ?? new Uint8Array()),
    maxBytes: 1_400,
    check(bytes, offset, length) {
      // Behind room for a header, as in the arena; the table writes where the packet lies.
      memory.set(bytes.subarray(offset, offset + length), 320);
      nowMs += 3;
      if (turn % 4 !== 0) repair(view, 320, length);
      const isUp = ++turn % 3 !== 0;
      const slot = isUp
        ? flows.fromAgent(AGENTS[turn & 1] ?? 1, outcome.service, memory, 320, length, nowMs)
        : flows.fromConnector(CONNECTOR, outcome.service, memory, 320, length, nowMs);
      if (slot < 0) return assert(flowDropName(slot) !== undefined);
      assert(isUp ? flows.connectorOf(slot) === CONNECTOR : AGENTS.includes(flows.agentOf(slot)), "a flow to nobody");
      assert(flows.size <= FLOWS_MAX, "more flows than may be");
    },
  };
}

function signalReceiver(): FuzzTarget {
  const codec = CODECS.find(({ name }) => name === "signal");
  assert(codec !== undefined);
  let receiver = new SignalReceiver();
  let taken = 0;
  return {
    name: "signalling in pieces",
    corpus: codecTarget(codec).corpus.filter(({ length }) => length < 2_000),
    maxBytes: 4_000,
    check(bytes, offset, length) {
      if (++taken % 64 === 0) receiver = new SignalReceiver();
      const cut = length === 0 ? 0 : (bytes[offset] ?? 0) * 7 % length;
      for (const piece of [bytes.slice(offset, offset + cut), bytes.slice(offset + cut, offset + length)]) receiver.handle(piece);
      assert(receiver.held <= wire.SIGNAL_PAYLOAD_MAX_BYTES + 4, "more is held than one message");
    },
  };
}

function retryToken(): FuzzTarget {
  const crypto32 = createPlaneCrypto();
  const entropy = (bytes: Uint8Array) => bytes.fill(9);
  const tokens = new RetryTokens([{ id: 3, aead: crypto32.aes256Gcm(new Uint8Array(32).fill(7)) }], entropy);
  const context = { address: text("192.0.2.1:5000"), retrySourceId: new Uint8Array(16).fill(5), version: 1 };
  const original = new Uint8Array(16).fill(6);
  const whole = tokens.seal(context, original, 1_000_000);
  return {
    name: "retry tokens",
    corpus: [whole],
    maxBytes: 120,
    check(bytes, offset, length) {
      const opened = tokens.open(bytes.subarray(offset, offset + length), context, 1_000_500);
      const isWhole = length === whole.length && bytesEqualAt(bytes, offset, whole, 0, length);
      assert((opened.kind === "valid") === isWhole, "a token that we did not write");
    },
  };
}

function dnsQuestion(): FuzzTarget {
  const asked = (hex: string) => fromHex(`123401000001000000000000${hex}`) ?? text("");
  const answer = new Uint8Array(2 * wire.DNS_MESSAGE_BYTES_MAX);
  const addresses = [Uint8Array.of(10, 100, 0, 1), new Uint8Array(16).fill(7)];
  return {
    name: "DNS questions",
    corpus: [asked("03776562047a746e610000010001"), asked("0000ff00ff"), asked(`${"3f" + "61".repeat(63)}00001c0001`)],
    maxBytes: 600,
    check(bytes, offset, length) {
      const question = wire.decodeDnsQuestion(bytes, offset, length);
      if (question.kind === "malformed") return;
      assert(question.endsAt <= length, "more was read than there is");
      answer.set(bytes.subarray(offset, offset + question.endsAt));
      const written = wire.encodeDnsResponse(answer, 0, wire.DNS_MESSAGE_BYTES_MAX, question, 0, addresses, 30);
      assert(written <= wire.DNS_MESSAGE_BYTES_MAX, "an answer that no client takes");
      const again = wire.decodeDnsQuestion(answer, wire.DNS_MESSAGE_BYTES_MAX, written);
      assert(again.kind === "malformed" && again.why === "unknown-code", "an answer that looks like a question");
    },
  };
}

function textTargets(): FuzzTarget[] {
  const target = (name: string, corpus: readonly string[], read: (input: string) => void): FuzzTarget => ({
    name,
    corpus: corpus.map(text),
    maxBytes: 400,
    check: (bytes, offset, length) => read(decoder.decode(bytes.subarray(offset, offset + length))),
  });
  const key = "aa".repeat(32);
  return [
    target("files of address keys", [`retry 1 ${key}\nreset ${key}\n`, `# kept\nretry 0 ${key}\nretry 255 ${key}\n`], (input) => {
      try {
        parseAddressKeys(input, "keys");
      } catch (error) {
        assert(error instanceof PosternError && !error.message.includes("aaaaaaaa"), "not a refusal, or one with a key in it");
      }
    }),
    target("deny lists", ["01ab\n# x\n01:ab:ff CN=Test CA\r\n", "7f\n"], (input) => void parseDenyList(input)),
    target("ZTNA names", ["agent.web.ztna", "connector.*.ztna", "AGENT.a.b.c.ztna", "admin.x.ztna"], (input) => {
      const name = parseZtnaName(input);
      assert(name === null || /^(agent|connector):./.test(name), "an authorisation out of nothing");
    }),
    target("limits", ["connections=10000", "bytes-per-connection=1000000/65536", "registrations-per-connection=off"], (input) => {
      parseLimit(input);
    }),
    target("addresses", ["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1", "fe80::1", "::"], (input) => {
      const bytes = parseIp(input);
      assert(bytes === null || bytes.length === 4 || bytes.length === 16);
    }),
  ];
}

/** Certificates by the native library, revocation lists by ours. */
async function certificateTargets(): Promise<FuzzTarget[]> {
  const authority = await createAuthority();
  const leaf = await authority.issue({ commonName: "agent", dns: ["agent.web.ztna"], ip: ["192.0.2.1"], uri: ["spiffe://a/b"] });
  const crl = await authority.crl({ revoked: [leaf] });
  const reader = createCertificateReader(loadNative().path);
  return [{
    name: "certificates",
    corpus: [authority.certificate, leaf.certificate].map(({ rawData }) => new Uint8Array(rawData)),
    maxBytes: 2_000,
    check(bytes, offset, length) {
      try {
        const { dnsNames } = reader.summarize(bytes.slice(offset, offset + length));
        for (const name of dnsNames) assert(/^[\x21-\x7e]*$/.test(name), "a name that deceives");
      } catch (error) {
        assert(error instanceof PosternError, `${error}`);
      }
    },
  }, {
    name: "revocation lists",
    corpus: [crl, await authority.crl()],
    maxBytes: 2_000,
    check(bytes, offset, length) {
      try {
        for (const { serials } of readRevocationLists(bytes.subarray(offset, offset + length))) {
          for (const serial of serials) assert(/^[0-9a-f]+$/.test(serial), "a serial that is none");
        }
      } catch (error) {
        assert(error instanceof RangeError, `${error}`);
      }
    },
  }];
}
