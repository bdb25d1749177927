/**
 * Registration tokens (WIRE 8): a client without a certificate shows on its first stream who it is, by an issuer's statement about
 * its key and a signature that holds for this connection only. Nothing of it counts before the last check is done.
 */
import { Timer } from "../../base/mod.ts";
import { type Identity, identityFromToken } from "../../core/auth/mod.ts";
import { type Connection, HeaderReader, sendWhole } from "../../core/quic/mod.ts";
import {
  CloseCode,
  decodeProof,
  decodeToken,
  encodeResult,
  type Proof,
  PROOF_EXPORTER,
  PROOF_MAX_BYTES,
  PROOF_TIMEOUT_MS,
  proofSignatureInput,
  RESULT_MAX_BYTES,
  STREAM_HEADER_TIMEOUT_MS,
  tokenSignatureInput,
  V1_REFUSAL_REASON,
} from "../../core/wire/mod.ts";
import { originOf, type Plane, type SampledLog } from "../control/mod.ts";
import { REFUSAL_LINGER_MS } from "./limits.ts";
import type { ServerMetric } from "./metrics.ts";
import type { Peer, PeerStream } from "./peer.ts";
import type { StreamHead } from "./stream_head.ts";

/** Why a proof was not accepted. */
export type ProofProblem = "malformed" | "token" | "issuer" | "expired" | "holder" | "signature";

/** Who the peer is, and the public key of the issuer who says so. */
interface Proved {
  readonly identity: Identity;
  readonly issuer: Uint8Array;
}

export interface ProofsOptions {
  readonly plane: Plane;
  readonly log: SampledLog;
  /** As they are at this moment. */
  readonly issuers: () => readonly Uint8Array[];
  readonly allowLegacyServiceIds: boolean;
  readonly count: (metric: ServerMetric) => void;
  /** The peer has proved who it is. */
  readonly onAdmitted: (peer: Peer, nowMs: number) => void;
}

export class Proofs {
  readonly #options: ProofsOptions;
  readonly #scratchAt: number;

  constructor(options: ProofsOptions) {
    this.#options = options;
    this.#scratchAt = options.plane.platform.layout.reserve(Math.max(PROOF_MAX_BYTES, RESULT_MAX_BYTES));
  }

  /** The peer has no certificate: it has so long to prove a token. */
  expect(peer: Peer, nowMs: number): void {
    peer.validity = new Timer(() => {
      this.#options.log.warn("connection-refused", "A client without a certificate proved no token in time", { peer: peer.label });
      peer.connection.close(CloseCode.certificateMissing, V1_REFUSAL_REASON.missing);
    });
    this.#options.plane.platform.reactor.setTimer(peer.validity, nowMs + PROOF_TIMEOUT_MS);
  }

  /** A stream that begins with a proof. False for a peer that has nothing to prove, or has begun to: each has one attempt. */
  begin({ peer, stream, header, openedMs }: StreamHead, nowMs: number): boolean {
    if (peer.identity !== null || peer.hasBegunProof || this.#options.issuers().length === 0) return false;
    peer.hasBegunProof = true;
    const { engine, reactor } = this.#options.plane.platform;
    const reader = new HeaderReader(engine, this.#scratchAt, PROOF_MAX_BYTES);
    reader.bytes.set(header.bytes.subarray(0, header.length));
    reader.length = header.length;
    const late = new Timer(() => this.#refuse(peer, stream, "malformed"));
    reactor.setTimer(late, openedMs + STREAM_HEADER_TIMEOUT_MS);
    const entry: PeerStream = {
      onReadable: (connection, now) => {
        const proof = read(reader, connection, stream);
        if (proof === "need") return;
        reactor.cancelTimer(late);
        peer.streams.delete(stream);
        if (proof === "malformed") this.#refuse(peer, stream, proof);
        else this.#judge(peer, stream, proof, now);
      },
      onWritable: () => {},
      connectionLost: () => reactor.cancelTimer(late),
    };
    peer.streams.set(stream, entry);
    entry.onReadable(peer.connection, nowMs);
    return true;
  }

  #judge(peer: Peer, stream: number, proof: Proof, nowMs: number): void {
    const judged = this.#judgementOf(peer.connection, proof);
    if (typeof judged === "string") return this.#refuse(peer, stream, judged);
    const { plane, count, onAdmitted } = this.#options;
    if (peer.validity !== null) plane.platform.reactor.cancelTimer(peer.validity);
    peer.validity = null;
    peer.identity = judged.identity;
    peer.tokenIssuer = judged.issuer;
    peer.isAdmitted = true;
    count("tokensAccepted");
    plane.log("debug", "connection-opened", "A client was admitted by its token", { peer: peer.label });
    this.#answer(peer, stream, "accepted", "");
    onAdmitted(peer, nowMs);
  }

  #judgementOf(connection: Connection, { token, publicKey, signature }: Proof): Proved | ProofProblem {
    const { plane, issuers, allowLegacyServiceIds } = this.#options;
    const { crypto, wallClockMs } = plane.platform;
    const decoded = decodeToken(token, 0, token.length, { legacy: allowLegacyServiceIds });
    if (decoded.kind === "malformed") return "token";
    const signed = tokenSignatureInput(token.subarray(0, decoded.signedLength));
    const issuerSignature = token.subarray(decoded.signedLength);
    const issuer = issuers().find((key) => crypto.verifyEd25519(key, signed, issuerSignature));
    if (issuer === undefined) return "issuer";
    if (wallClockMs() >= decoded.expiresSeconds * 1000) return "expired";
    const holder = Array.from(crypto.sha256(publicKey), (byte) => byte.toString(16).padStart(2, "0")).join("");
    if (holder !== decoded.holder) return "holder";
    const exported = connection.engine.exportKey(PROOF_EXPORTER.label, new Uint8Array(0), PROOF_EXPORTER.lengthBytes);
    if (exported === null) return "signature";
    const input = proofSignatureInput(exported, crypto.sha256(token));
    return crypto.verifyEd25519(publicKey, input, signature) ? { identity: identityFromToken(decoded), issuer } : "signature";
  }

  #refuse(peer: Peer, stream: number, why: ProofProblem): void {
    const { plane, log, count } = this.#options;
    peer.streams.delete(stream);
    count("tokensRefused");
    log.warn("connection-refused", `Refused a registration token: ${why}`, { peer: peer.label, why });
    log.event({
      ...originOf(peer.connection),
      event_type: "auth_failure",
      details: { username: "", reason: `registration token: ${why}` },
    });
    this.#answer(peer, stream, "denied", "the registration token is not accepted");
    // The answer leaves first: a close would overtake it.
    const close = new Timer(() => {
      if (!peer.connection.isOver) peer.connection.close(CloseCode.certificateMissing, "the registration token is not accepted");
    });
    plane.platform.reactor.setTimer(close, plane.platform.reactor.nowMs + REFUSAL_LINGER_MS);
  }

  #answer(peer: Peer, stream: number, code: "accepted" | "denied", reason: string): void {
    const { engine } = this.#options.plane.platform;
    const length = encodeResult(engine.arena.bytes, this.#scratchAt, code, reason);
    sendWhole(peer.connection, stream, this.#scratchAt, length, true);
  }
}

function read(reader: HeaderReader, connection: Connection, stream: number): Proof | "need" | "malformed" {
  for (;;) {
    const proof = decodeProof(reader.bytes, 0, reader.length);
    if (proof.kind === "malformed") return "malformed";
    if (proof.kind === "proof") return proof;
    const progress = reader.fill(connection, stream, proof.bytes);
    if (progress === "need") return "need";
    if (progress !== "complete") return "malformed";
  }
}
