/**
 * What the server decides: whether it lets us in at all, which in TLS 1.3 shows only after the handshake, and then for each service
 * whether we may and whether there is somebody behind it. An open goes all the way to the backend and is given up there, with nothing
 * said; a server that knows no streams is asked by a registration.
 */
import { abortStream, type Connection, HeaderReader, sendWhole } from "../../core/quic/mod.ts";
import {
  AbortCode,
  ALPN_V2,
  decodeRegistrationReply,
  decodeResult,
  encodeOpen,
  OPEN_MAX_BYTES,
  REGISTRATION_SENDS_MAX,
  REGISTRATION_TIMEOUT_MS,
  RESULT_MAX_BYTES,
  type ResultCode,
} from "../../core/wire/mod.ts";
import { createPlaneCrypto } from "../../io/mod.ts";
import { PROOF_STREAM, ProofExchange } from "../../roles/uplink/mod.ts";
import type { ProbeConnection, ProbeWorld } from "../probe/mod.ts";
import type { Findings } from "./finding.ts";
import type { OwnFiles } from "./own_files.ts";

/** A server that takes our certificate tells under which address it sees us; one that does not closes. */
const ADMISSION_MS = 10_000;
/** Longer than a server waits for a connector, and that for its backend. */
const RESULT_MS = 20_000;
/** From one stream of a client to its next (RFC 9000 §2.1). */
const STREAM_STEP = 4;
const LOOK_AT_CERTIFICATE =
  "give a certificate that the server trusts with --client-cert and --client-key; the server's log says what it lacks";

/** Whether the server lets us in, by certificate or by token. */
export async function examineAdmission(
  dialled: ProbeConnection,
  world: ProbeWorld,
  { token }: OwnFiles,
  target: string,
  findings: Findings,
): Promise<boolean> {
  const { connection } = dialled;
  if (token !== null) {
    const why = await proveToken(dialled, world, token);
    if (why !== null) {
      findings.fail("admission", target, why, "get a new token for the key of --token-key; the server's log has the reason");
      return false;
    }
    findings.ok("admission", target, "the server took the registration token");
    return true;
  }
  connection.engine.keepAlive();
  connection.touch();
  await dialled.until(() => dialled.received.length > 0, ADMISSION_MS);
  if (dialled.ending === null) {
    const isSaid = dialled.received.length > 0;
    findings.ok(
      "admission",
      target,
      isSaid ? "the server lets us in" : `the server has not refused us in ${ADMISSION_MS / 1_000} s`,
    );
    return true;
  }
  const { trouble } = dialled;
  findings.fail("admission", target, trouble?.message ?? "the server closed the connection", trouble?.hint ?? LOOK_AT_CERTIFICATE);
  return false;
}

/** Null: it was taken. */
async function proveToken(
  dialled: ProbeConnection,
  world: ProbeWorld,
  token: NonNullable<OwnFiles["token"]>,
): Promise<string | null> {
  const { connection } = dialled;
  const { engine, layout } = world;
  if (connection.engine.applicationProtocol() !== ALPN_V2) return "the server knows no registration tokens: it speaks ztna-v1 only";
  const proof = new ProofExchange({ platform: { engine, layout, crypto: createPlaneCrypto() } }, token);
  if (!proof.begin(connection)) return "the token could not be sent";
  let progress = proof.read(connection);
  const isAnswered = () => progress !== "wait" || (progress = proof.read(connection)) !== "wait";
  if (await dialled.until(isAnswered, ADMISSION_MS)) return progress === "accepted" ? null : "the server did not accept the token";
  return dialled.trouble?.message ?? `the server did not answer the token within ${ADMISSION_MS / 1_000} s`;
}

/** A service, and what the server said of it. */
interface Asked {
  readonly service: string;
  code: ResultCode | "no-answer" | null;
  reason: string;
}

/** Asks for every service at once, and tells of each. */
export async function examineServices(
  dialled: ProbeConnection,
  world: ProbeWorld,
  { token }: OwnFiles,
  services: readonly string[],
  findings: Findings,
): Promise<void> {
  const isV2 = dialled.connection.engine.applicationProtocol() === ALPN_V2;
  if (!isV2) return await examineRegistrations(dialled, services, findings);
  const first = token === null ? PROOF_STREAM : PROOF_STREAM + STREAM_STEP;
  const scratchAt = world.layout.reserve(Math.max(OPEN_MAX_BYTES, RESULT_MAX_BYTES));
  const asked = services.map((service, i) =>
    new AskedStream(world, dialled.connection, first + i * STREAM_STEP, service, scratchAt)
  );
  await dialled.until(() => asked.filter((one) => !one.hasAnswer()).length === 0, RESULT_MS);
  for (const one of asked) tellResult(one, findings);
}

class AskedStream implements Asked {
  readonly service: string;
  code: Asked["code"] = null;
  reason = "";
  readonly #connection: Connection;
  readonly #stream: number;
  readonly #header: HeaderReader;

  constructor({ engine }: ProbeWorld, connection: Connection, stream: number, service: string, scratchAt: number) {
    this.service = service;
    this.#connection = connection;
    this.#stream = stream;
    this.#header = new HeaderReader(engine, scratchAt, RESULT_MAX_BYTES);
    const length = encodeOpen(engine.arena.bytes, scratchAt, { service, agent: null });
    const sent = sendWhole(connection, stream, scratchAt, length, false);
    if (sent !== "sent") this.#end("no-answer", "the question could not be sent");
  }

  /** Takes what came of the answer, and says whether that is all. */
  hasAnswer(): boolean {
    while (this.code === null && !this.#connection.isOver) {
      const result = decodeResult(this.#header.bytes, 0, this.#header.length);
      if (result.kind === "malformed") this.#end("no-answer", `a malformed answer (${result.why})`);
      else if (result.kind === "result") this.#end(result.code, result.reason);
      else {
        const progress = this.#header.fill(this.#connection, this.#stream, result.bytes);
        if (progress === "need") return false;
        if (progress !== "complete") this.#end("no-answer", "the stream ended without an answer");
      }
    }
    return this.code !== null;
  }

  #end(code: NonNullable<Asked["code"]>, reason: string): void {
    this.code = code;
    this.reason = reason;
    abortStream(this.#connection, this.#stream, AbortCode.aborted);
  }
}

function tellResult({ service, code, reason }: Asked, findings: Findings): void {
  const because = reason === "" ? "" : `: ${reason}`;
  const fail = (message: string, mend: string) => findings.fail("service", service, message + because, mend);
  const offer = `start one that may offer it: postern connector --service ${service}=HOST:PORT; check the spelling of ${service}`;
  switch (code) {
    case "accepted":
      return findings.ok("service", service, "open: its backend took a connection");
    case "datagram-only":
      return findings.ok("service", service, `allowed; its connectors take packets, not streams${because}`);
    case "denied":
      return fail("the server denies it", `issue a certificate with the DNS name agent.${service}.ztna, or a token for it`);
    case "unknown-service":
      return fail("allowed, but no connector has offered it", offer);
    case "no-connector":
      return fail("allowed, but no connector offers it now", offer);
    case "backend-refused":
    case "backend-timeout":
      return fail(
        `allowed, but its connector cannot reach the backend (${code})`,
        "at the connector: postern status --role connector, and start what it leads to",
      );
    case "busy":
      return findings.warn(
        "service",
        service,
        `no room for one more connection${because}`,
        "try again; on the server: postern status",
      );
    default:
      return fail("the server did not answer", "look into the server's log; on the server: postern status");
  }
}

/** To a server of ztna-v1, which says only whether we may. */
async function examineRegistrations(dialled: ProbeConnection, services: readonly string[], findings: Findings): Promise<void> {
  for (const service of services) {
    const answer = await register(dialled, service);
    if (answer === "ack") {
      findings.ok("service", service, "allowed; a server of ztna-v1 does not say whether a connector offers it");
    } else {
      const mend = `issue a certificate with the DNS name agent.${service}.ztna; the server's log has the reason`;
      findings.fail("service", service, answer === null ? "the server did not answer" : `the server denies it: ${answer}`, mend);
    }
  }
}

async function register(dialled: ProbeConnection, service: string): Promise<string | null> {
  let answer: string | null = null;
  const isAnswered = () => {
    for (let bytes = dialled.received.shift(); bytes !== undefined; bytes = dialled.received.shift()) {
      const reply = decodeRegistrationReply(bytes, 0, bytes.length);
      if (reply.kind !== "malformed" && (reply.service === service || reply.service === "")) {
        answer = reply.kind === "ack" ? "ack" : reply.status;
      }
    }
    return answer !== null;
  };
  for (let sends = 0; sends < REGISTRATION_SENDS_MAX && answer === null; sends++) {
    dialled.register(service);
    await dialled.until(isAnswered, REGISTRATION_TIMEOUT_MS);
  }
  return answer;
}
