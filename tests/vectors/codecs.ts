/**
 * Every codec of the wire in one form, so that golden vectors and properties run over all of them alike. A new codec is one
 * more entry here and its vectors in a JSON file of this folder.
 */

import fc from "fast-check";
import { assert, fromHex, parseIp, parsePrintable, toHex } from "../../src/base/mod.ts";
import * as wire from "../../src/core/wire/mod.ts";

/** What a decoder made of bytes: a value with the bytes that it took, a wish for more, or a refusal. */
export type Decoded<T> = { readonly value: T; readonly length: number } | { readonly need: number } | {
  readonly malformed: string;
};

export interface Codec<T> {
  readonly name: string;
  readonly values: fc.Arbitrary<T>;
  /** What stands behind a message: refused (it fills its packet), data (a stream goes on), ignored, or part of the value. */
  readonly tail: "refused" | "data" | "ignored" | "value";
  readonly maxBytes: number;
  encode(bytes: Uint8Array, offset: number, value: T): number;
  decode(bytes: Uint8Array, offset: number, length: number): Decoded<T>;
}

const SERVICE_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789";
const edge = fc.constantFrom(...SERVICE_CHARACTERS);
const middle = fc.array(fc.constantFrom(...SERVICE_CHARACTERS, ".", "-", "_"), { maxLength: 61 });
const service = fc.oneof(edge, fc.tuple(edge, middle, edge).map(([first, rest, last]) => first + rest.join("") + last));
const printable = (maxBytes: number) =>
  fc.oneof(fc.string({ minLength: 1, maxLength: maxBytes }), fc.string({ unit: "binary", minLength: 1, maxLength: maxBytes / 2 }))
    .filter((text) => parsePrintable(text, maxBytes).ok);
const hex = (bytes: number) => fc.uint8Array({ minLength: bytes, maxLength: bytes }).map(toHex);
const u32 = fc.nat({ max: 0xffffffff });
const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const ip = fc.oneof(hex(4), hex(16), fc.constant("00000000000000000000ffffcb007105")).map((text) => formatHexIp(text));
const socketAddress = fc.record({ ip, port: fc.nat({ max: 65535 }) });

function formatHexIp(text: string): string {
  const bytes = fromHex(text) ?? new Uint8Array(4);
  if (bytes.length === 4) return bytes.join(".");
  return [...Array(8).keys()].map((i) => text.slice(4 * i, 4 * i + 4)).join(":");
}

/** The text that a decoder gives for the same address. */
function canonical<T extends { readonly ip: string }>(address: T): T {
  const bytes = parseIp(address.ip);
  if (bytes === null || bytes.length === 4) return address;
  const decoded = wire.decodeBinding(encodeWithAddress(address.ip), 0, 41);
  assert(decoded.kind === "binding-response" && decoded.mappedAddress !== null, "an address in a binding response");
  return { ...address, ip: decoded.mappedAddress.ip };
}

function encodeWithAddress(ipText: string): Uint8Array {
  const bytes = new Uint8Array(41);
  wire.encodeBinding(bytes, 0, {
    kind: "binding-response",
    transactionId: "00".repeat(12),
    success: true,
    mappedAddress: { ip: ipText, port: 0 },
  });
  return bytes;
}

const canonicalAddress = socketAddress.map(canonical);

/** Most decoders of whole packets: a value of some kind, or `malformed`. */
function whole<T extends { readonly kind: string }>(decoded: T | wire.Malformed, length: number): Decoded<T> {
  return decoded.kind === "malformed" && "why" in decoded
    ? { malformed: (decoded as wire.Malformed).why }
    : { value: decoded as T, length };
}

const routed: Codec<{ readonly id: string; readonly packet: string }> = {
  name: "routed",
  values: fc.record({
    id: fc.uint8Array({ minLength: 1, maxLength: 255 }).map(toHex),
    packet: fc.uint8Array({ minLength: 1, maxLength: 64 }).map(toHex),
  }),
  tail: "value",
  maxBytes: 400,
  encode(bytes, offset, value) {
    const header = wire.encodeRoutedHeader(bytes, offset, fromHex(value.id) ?? new Uint8Array());
    const packet = fromHex(value.packet) ?? new Uint8Array();
    bytes.set(packet, offset + header);
    return header + packet.length;
  },
  decode(bytes, offset, length) {
    const idLength = wire.routedIdLength(bytes, offset, length);
    if (idLength === 0) return { malformed: "routed" };
    const packetAt = offset + wire.ROUTED_ID_AT + idLength;
    const id = toHex(bytes.subarray(offset + wire.ROUTED_ID_AT, packetAt));
    return { value: { id, packet: toHex(bytes.subarray(packetAt, offset + length)) }, length };
  },
};

const qad: Codec<Exclude<wire.Qad, wire.Malformed>> = {
  name: "qad",
  values: fc.record({ kind: fc.constant("qad" as const), address: canonicalAddress })
    .filter(({ address }) => address.port > 0 && !address.ip.startsWith("::ffff:") && !/^[0.:]+$/.test(address.ip)),
  tail: "refused",
  maxBytes: wire.QAD6_LENGTH,
  encode(bytes, offset, { address }) {
    const source = parseIp(address.ip) ?? new Uint8Array(4);
    return wire.encodeQad(bytes, offset, source, 0, source.length === 4 ? 4 : 16, address.port);
  },
  decode: (bytes, offset, length) => whole(wire.decodeQad(bytes, offset, length), length),
};

type Register = Extract<wire.Registration, { kind: "register" }>;
function registration(name: string, services: fc.Arbitrary<string>, legacy: boolean): Codec<Register> {
  return {
    name,
    values: fc.record({
      kind: fc.constant("register" as const),
      role: fc.constantFrom("agent" as const, "connector" as const),
      service: services,
    }),
    tail: "ignored",
    maxBytes: 257,
    encode: (bytes, offset, value) => wire.encodeRegistration(bytes, offset, value.role, value.service),
    decode(bytes, offset, length) {
      const decoded = wire.decodeRegistration(bytes, offset, length, { legacy });
      return decoded.kind === "register"
        ? { value: decoded, length: 2 + new TextEncoder().encode(decoded.service).length }
        : { malformed: decoded.why };
    },
  };
}

type Reply = Exclude<wire.RegistrationReply, wire.Malformed>;
const registrationReply: Codec<Reply> = {
  name: "registration-reply",
  values: fc.oneof(
    fc.record({ kind: fc.constant("ack" as const), service: printable(255) }),
    fc.record({
      kind: fc.constant("nack" as const),
      status: fc.constantFrom("not-authorised" as const, "taken" as const, "rate-limited" as const, "withdrawn" as const),
      service: printable(255),
    }).map((nack) => ({ ...nack, statusByte: wire.NACK_STATUS[nack.status] })),
    fc.constant({ kind: "nack" as const, status: "invalid" as const, statusByte: 1, service: "" }),
  ),
  tail: "refused",
  maxBytes: 258,
  encode(bytes, offset, value) {
    if (value.kind === "ack") return wire.encodeAck(bytes, offset, value.service);
    const length = wire.encodeNack(bytes, offset, value.status === "unknown" ? "invalid" : value.status, value.service);
    bytes[offset + 1] = value.statusByte;
    return length;
  },
  decode: (bytes, offset, length) => whole<Reply>(wire.decodeRegistrationReply(bytes, offset, length), length),
};

const withdrawal: Codec<Exclude<wire.Withdrawal, wire.Malformed>> = {
  name: "withdrawal",
  values: fc.record({ kind: fc.constant("withdraw" as const), service: printable(255) }),
  tail: "refused",
  maxBytes: 257,
  encode: (bytes, offset, value) => wire.encodeWithdrawal(bytes, offset, value.service),
  decode: (bytes, offset, length) => whole(wire.decodeWithdrawal(bytes, offset, length), length),
};

const keepalive: Codec<{ readonly kind: "request" | "response"; readonly sequence: number }> = {
  name: "keepalive",
  values: fc.record({ kind: fc.constantFrom("request" as const, "response" as const), sequence: u32 }),
  tail: "refused",
  maxBytes: wire.KEEPALIVE_LENGTH,
  encode: (bytes, offset, value) => wire.encodeKeepalive(bytes, offset, value.kind, value.sequence),
  decode(bytes, offset, length) {
    const packet = wire.classifyP2pPacket(bytes, offset, length);
    const isRequest = packet === wire.P2pPacket.keepaliveRequest;
    if (!isRequest && packet !== wire.P2pPacket.keepaliveResponse) return { malformed: "keepalive" };
    return { value: { kind: isRequest ? "request" : "response", sequence: wire.keepaliveSequence(bytes, offset) }, length };
  },
};

const agentIdentity: fc.Arbitrary<wire.AgentIdentity> = fc.record({
  commonName: printable(255),
  fingerprint: hex(32),
  san: printable(266),
  admission: fc.constantFrom("certificate" as const, "token" as const, "anonymous" as const),
});

function open(from: "agent" | "server", legacy: boolean): Codec<wire.OpenHeader> {
  return {
    name: `open-from-${from}${legacy ? "-legacy" : ""}`,
    values: fc.record({ service: legacy ? printable(255) : service, agent: from === "agent" ? fc.constant(null) : agentIdentity }),
    tail: "data",
    maxBytes: wire.OPEN_MAX_BYTES,
    encode: (bytes, offset, value) => wire.encodeOpen(bytes, offset, value),
    decode(bytes, offset, length) {
      const decoded = wire.decodeOpen(bytes, offset, length, { from, legacy });
      if (decoded.kind === "need") return { need: decoded.bytes };
      if (decoded.kind === "malformed") return { malformed: decoded.why };
      return { value: { service: decoded.service, agent: decoded.agent }, length: decoded.length };
    },
  };
}

const result: Codec<{ readonly code: wire.ResultCode; readonly reason: string }> = {
  name: "result",
  values: fc.record({ code: fc.constantFrom(...wire.RESULT_CODES), reason: fc.oneof(fc.constant(""), printable(255)) })
    .map((value) => value.code === "accepted" ? { ...value, reason: "" } : value),
  tail: "data",
  maxBytes: wire.RESULT_MAX_BYTES,
  encode: (bytes, offset, value) => wire.encodeResult(bytes, offset, value.code, value.reason),
  decode(bytes, offset, length) {
    const decoded = wire.decodeResult(bytes, offset, length);
    if (decoded.kind === "need") return { need: decoded.bytes };
    if (decoded.kind === "malformed") return { malformed: decoded.why };
    return { value: { code: decoded.code, reason: decoded.reason }, length: decoded.length };
  },
};

const proof: Codec<{ readonly token: string; readonly publicKey: string; readonly signature: string }> = {
  name: "proof",
  values: fc.record({ token: fc.uint8Array({ minLength: 1, maxLength: 300 }).map(toHex), publicKey: hex(44), signature: hex(64) }),
  tail: "data",
  maxBytes: wire.PROOF_MAX_BYTES,
  encode(bytes, offset, value) {
    const bytesOf = (text: string) => fromHex(text) ?? new Uint8Array();
    const parts = { token: bytesOf(value.token), publicKey: bytesOf(value.publicKey), signature: bytesOf(value.signature) };
    return wire.encodeProof(bytes, offset, parts);
  },
  decode(bytes, offset, length) {
    const decoded = wire.decodeProof(bytes, offset, length);
    if (decoded.kind === "need") return { need: decoded.bytes };
    if (decoded.kind === "malformed") return { malformed: decoded.why };
    const { token, publicKey, signature } = decoded;
    return { value: { token: toHex(token), publicKey: toHex(publicKey), signature: toHex(signature) }, length: decoded.length };
  },
};

/** The signature is whatever follows the claims: here 64 times AA. */
const token: Codec<wire.TokenClaims> = {
  name: "token",
  values: fc.record({
    role: fc.constantFrom("agent" as const, "connector" as const),
    services: fc.oneof(
      fc.constant(["*"]),
      fc.uniqueArray(service, { minLength: 1, maxLength: 8 }).map((ids) => ids.sort((a, b) => a < b ? -1 : 1)),
    ),
    expiresSeconds: fc.maxSafeNat(),
    holder: hex(32),
  }),
  tail: "refused",
  maxBytes: wire.TOKEN_MAX_BYTES,
  encode(bytes, offset, value) {
    const signed = wire.encodeTokenClaims(value);
    assert(signed !== null, "claims that fit in a token");
    bytes.set(signed, offset);
    bytes.fill(0xaa, offset + signed.length, offset + signed.length + wire.SIGNATURE_BYTES);
    return signed.length + wire.SIGNATURE_BYTES;
  },
  decode(bytes, offset, length) {
    const decoded = wire.decodeToken(bytes, offset, length);
    if (decoded.kind === "malformed") return { malformed: decoded.why };
    const { role, services, expiresSeconds, holder } = decoded;
    // A flipped bit in the signature is not the codec's to see: only the claims are compared.
    bytes.fill(0xaa, offset + decoded.signedLength, offset + length);
    return { value: { role, services, expiresSeconds, holder }, length };
  },
};

const candidates = fc.array(
  fc.record({
    type: fc.constantFrom("host" as const, "server-reflexive" as const, "peer-reflexive" as const, "relay" as const),
    address: canonicalAddress,
    priority: u32,
    foundation: fc.oneof(fc.constant(""), printable(64)),
    relatedAddress: fc.option(canonicalAddress),
  }),
  { maxLength: wire.CANDIDATES_MAX },
);

const signal: Codec<wire.SignalMessage> = {
  name: "signal",
  values: fc.oneof(
    fc.record({ kind: fc.constant("candidate-offer" as const), sessionId: u64, service, candidates }),
    fc.record({ kind: fc.constant("candidate-answer" as const), sessionId: u64, candidates }),
    fc.record({
      kind: fc.constant("start-punching" as const),
      sessionId: u64,
      startDelayMs: fc.nat({ max: wire.START_DELAY_MAX_MS }),
      candidates,
    }),
    fc.record({
      kind: fc.constant("punching-result" as const),
      sessionId: u64,
      success: fc.boolean(),
      workingAddress: fc.option(canonicalAddress),
    }),
    fc.record({
      kind: fc.constant("error" as const),
      sessionId: fc.option(u64),
      code: fc.constantFrom("unknown" as const, "invalid-message" as const, "peer-rejected" as const),
      message: fc.oneof(fc.constant(""), printable(1024)),
    }),
  ),
  tail: "data",
  maxBytes: wire.SIGNAL_ENCODED_MAX_BYTES,
  encode: (bytes, offset, value) => wire.encodeSignal(bytes, offset, value),
  decode(bytes, offset, length) {
    const frame = wire.readSignalFrame(bytes, offset, length);
    if (frame.kind === "need") return { need: frame.bytes };
    if (frame.kind === "malformed") return { malformed: frame.why };
    return whole<wire.SignalMessage>(wire.decodeSignal(bytes, frame.offset, frame.length), frame.offset - offset + frame.length);
  },
};

const binding: Codec<wire.BindingMessage> = {
  name: "binding",
  values: fc.oneof(
    fc.record({ kind: fc.constant("binding-request" as const), transactionId: hex(12), priority: u64, useCandidate: fc.boolean() }),
    fc.record({
      kind: fc.constant("binding-response" as const),
      transactionId: hex(12),
      success: fc.boolean(),
      mappedAddress: fc.option(canonicalAddress),
    }),
  ),
  tail: "refused",
  maxBytes: wire.BINDING_MAX_BYTES,
  encode: (bytes, offset, value) => wire.encodeBinding(bytes, offset, value),
  decode: (bytes, offset, length) => whole<wire.BindingMessage>(wire.decodeBinding(bytes, offset, length), length),
};

export const CODECS: readonly Codec<unknown>[] = [
  routed,
  qad,
  registration("registration", service, false),
  registration("registration-legacy", printable(255), true),
  registrationReply,
  withdrawal,
  keepalive,
  open("agent", false),
  open("agent", true),
  open("server", false),
  result,
  proof,
  token,
  signal,
  binding,
] as readonly Codec<unknown>[];
