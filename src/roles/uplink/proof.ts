/**
 * A client's registration token (WIRE 8.2): sent with a signature for this connection on its first stream, before anything else;
 * the server's RESULT says whether it is admitted.
 */
import { type Connection, HeaderReader, sendWhole } from "../../core/quic/mod.ts";
import {
  decodeResult,
  encodeProof,
  PROOF_EXPORTER,
  PROOF_MAX_BYTES,
  proofSignatureInput,
  RESULT_MAX_BYTES,
} from "../../core/wire/mod.ts";
import type { Plane, TokenPlan } from "../control/mod.ts";

/** The first stream of a client (RFC 9000 §2.1). */
export const PROOF_STREAM = 0;

export type ProofProgress = "wait" | "accepted" | "denied";

/** What it needs of a plane. */
export interface ProofPlane {
  readonly platform: Pick<Plane["platform"], "crypto" | "engine" | "layout">;
}

export class ProofExchange {
  readonly #plane: ProofPlane;
  readonly #token: TokenPlan;
  readonly #scratchAt: number;
  #answer: HeaderReader;

  constructor(plane: ProofPlane, token: TokenPlan) {
    this.#plane = plane;
    this.#token = token;
    this.#scratchAt = plane.platform.layout.reserve(Math.max(PROOF_MAX_BYTES, RESULT_MAX_BYTES));
    this.#answer = this.#reader();
  }

  /** Says who we are on a connection that has just been established. False when the engine does not take it. */
  begin(connection: Connection): boolean {
    const { crypto, engine } = this.#plane.platform;
    const { token, publicKey, privateKey } = this.#token;
    const exported = connection.engine.exportKey(PROOF_EXPORTER.label, new Uint8Array(0), PROOF_EXPORTER.lengthBytes);
    if (exported === null) return false;
    this.#answer = this.#reader();
    const signature = crypto.signEd25519(privateKey, proofSignatureInput(exported, crypto.sha256(token)));
    const length = encodeProof(engine.arena.bytes, this.#scratchAt, { token, publicKey, signature });
    return sendWhole(connection, PROOF_STREAM, this.#scratchAt, length, true) === "sent";
  }

  /** Something came on {@linkcode PROOF_STREAM}. */
  read(connection: Connection): ProofProgress {
    for (;;) {
      const result = decodeResult(this.#answer.bytes, 0, this.#answer.length);
      if (result.kind === "malformed") return "denied";
      if (result.kind === "result") return result.code === "accepted" ? "accepted" : "denied";
      const progress = this.#answer.fill(connection, PROOF_STREAM, result.bytes);
      if (progress === "need") return "wait";
      if (progress !== "complete") return "denied";
    }
  }

  #reader(): HeaderReader {
    return new HeaderReader(this.#plane.platform.engine, this.#scratchAt, RESULT_MAX_BYTES);
  }
}
