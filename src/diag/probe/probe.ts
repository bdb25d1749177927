/**
 * The steps of a probe, each with its lines on standard output: dial, register, send, wait, compare, measure. Scripts of earlier
 * ztna-v1 test clients read these lines.
 */
import { bytesEqualAt, explainPins, messageOf, PIN_HINT, PosternError, sanitizeForLog, toHex } from "../../base/mod.ts";
import { decodeQad, decodeRegistrationReply } from "../../core/wire/mod.ts";
import { ProbeConnection, type ProbeTarget, type ProbeWorld } from "./connection.ts";
import type { ProbePlan } from "./options.ts";
import { patternOf, sizeInBytes, UDP_PACKET_OVERHEAD_BYTES, udpPacketOf, udpPayloadOf } from "./payload.ts";

export interface ProbeOutput {
  /** A line for the caller. */
  readonly line: (text: string) => void;
  /** A line for the person. */
  readonly say: (text: string) => void;
  /** The next line that somebody types; null at the end. */
  readonly ask: () => Promise<string | null>;
}

/** A server that says nothing for so long is not there. */
const DIAL_TIMEOUT_MS = 10_000;
const REGISTRATION_TIMEOUT_MS = 2_000;
const REGISTRATION_SENDS_MAX = 3;

/** Returns the exit code: 0 when everything was as it should be. Throws a PosternError for what cannot begin. */
export async function runProbe(world: ProbeWorld, plan: ProbePlan, target: ProbeTarget, output: ProbeOutput): Promise<number> {
  const begunMs = world.reactor.clockMs;
  const connection = new ProbeConnection(world, target);
  try {
    const isUp = await connection.until(() => connection.isEstablished, DIAL_TIMEOUT_MS);
    const handshakeUs = Math.round((world.reactor.clockMs - begunMs) * 1_000);
    const unpinned = isUp ? explainPins(plan.pins, connection.connection.engine.peerCertificate()) : null;
    // A server may still refuse our certificate: then it does so at once (WIRE 2.9).
    if (plan.expectsFailure && isUp) await connection.until(() => false, plan.waitMs);
    if (plan.expectsFailure) return expectFailure(connection, unpinned !== null, output);
    if (!isUp) throw rejected(connection);
    if (unpinned !== null) throw new PosternError(`TLS: the server is refused: ${unpinned}`, { code: "rejected", hint: PIN_HINT });
    output.say("Connection established!");
    if (plan.showsHandshake) output.line(`HANDSHAKE_US:${handshakeUs}`);
    const probe = new Probe(world, connection, plan, output);
    return await probe.run();
  } finally {
    connection.close();
  }
}

function expectFailure({ isEstablished, ending }: ProbeConnection, isRefused: boolean, output: ProbeOutput): number {
  if (isEstablished && ending === null && !isRefused) {
    output.say("The connection was expected to fail, and stands.");
    return 1;
  }
  output.line("EXPECTED_FAIL:connection_rejected");
  return 0;
}

function rejected({ ending }: ProbeConnection): PosternError {
  const why = ending === null ? `no answer within ${DIAL_TIMEOUT_MS / 1_000} s` : endingText(ending);
  return new PosternError(`no connection to the server: ${why}`, {
    code: "rejected",
    hint: "`postern agent connect` says more about certificates and names",
  });
}

function endingText({ by, info }: NonNullable<ProbeConnection["ending"]>): string {
  const reason = info === null ? "" : sanitizeForLog(typeof info.reason === "string" ? info.reason : messageOf(info.reason), 200);
  return info === null
    ? `ended by ${by}`
    : `ended by ${by} with code 0x${info.code.toString(16)}${reason === "" ? "" : ` (${reason})`}`;
}

class Probe {
  readonly #world: ProbeWorld;
  readonly #connection: ProbeConnection;
  readonly #plan: ProbePlan;
  readonly #output: ProbeOutput;
  #matches = 0;
  #mismatches = 0;

  constructor(world: ProbeWorld, connection: ProbeConnection, plan: ProbePlan, output: ProbeOutput) {
    this.#world = world;
    this.#connection = connection;
    this.#plan = plan;
    this.#output = output;
  }

  async run(): Promise<number> {
    const { service, message, burst, rttCount, isInteractive, showsMaxSize } = this.#plan;
    if (service !== null) await this.#register(service);
    if (showsMaxSize) {
      this.#output.line(`MAX_DGRAM_SIZE:${this.#connection.datagramMaxBytes}`);
      this.#output.line(`MAX_UDP_PAYLOAD:${this.#connection.datagramMaxBytes - UDP_PACKET_OVERHEAD_BYTES}`);
    }
    if (message !== null) {
      if (burst > 0) await this.#burst(burst);
      else if (rttCount > 0) await this.#measure(rttCount);
      else await this.#sendAll();
    } else if (this.#onlyListens) await this.#listen(this.#plan.waitMs);
    if (isInteractive) await this.#converse();
    this.#takeControl();
    if (this.#connection.ending !== null) throw rejected(this.#connection);
    return this.#plan.verifiesEcho ? this.#verdict() : 0;
  }

  /** Nothing is sent and nothing is measured: the connection stands for a while, and shows what comes. */
  get #onlyListens(): boolean {
    const { isInteractive, showsMaxSize, showsHandshake } = this.#plan;
    return !isInteractive && !showsMaxSize && !showsHandshake;
  }

  async #register(service: string): Promise<void> {
    for (let sends = 0; sends < REGISTRATION_SENDS_MAX; sends++) {
      this.#output.say(`Registering as Agent for service '${service}'`);
      this.#connection.register(service);
      const isReply = (bytes: Uint8Array) => bytes[0] === 0x12 || bytes[0] === 0x13;
      const isAnswered = await this.#connection.until(() => this.#connection.received.some(isReply), REGISTRATION_TIMEOUT_MS);
      if (!isAnswered) continue;
      const at = this.#connection.received.findIndex(isReply);
      const [bytes = new Uint8Array()] = this.#connection.received.splice(at, 1);
      const reply = decodeRegistrationReply(bytes, 0, bytes.length);
      this.#output.say(`Registration answered: ${reply.kind === "nack" ? reply.status : reply.kind}`);
      return;
    }
    if (this.#connection.ending !== null) throw rejected(this.#connection);
    this.#output.say("Registration was not answered");
  }

  async #sendAll(): Promise<void> {
    const { repeat, delayMs, waitMs, verifiesEcho } = this.#plan;
    for (let i = 0; i < Math.max(1, repeat); i++) {
      const payload = this.#payload();
      this.#send(payload);
      if (verifiesEcho) {
        const answer = await this.#answer(waitMs);
        if (answer !== null && answer.length === payload.length && bytesEqualAt(answer, 0, payload, 0, payload.length)) {
          this.#matches++;
        } else this.#mismatches++;
      }
      if (delayMs > 0) await this.#connection.until(() => false, delayMs);
    }
    if (!verifiesEcho) await this.#listen(waitMs);
  }

  /** Shows what comes in so long. */
  async #listen(waitMs: number): Promise<void> {
    const until = this.#connection.clockMs + waitMs;
    for (let left = waitMs; left > 0; left = until - this.#connection.clockMs) {
      if (await this.#answer(left) === null) return;
    }
  }

  async #burst(count: number): Promise<void> {
    const begunMs = this.#connection.clockMs;
    let sent = 0;
    while (sent < count && this.#connection.ending === null) {
      const payload = this.#payload();
      // The first one tells whether they fit at all.
      if (sent === 0) this.#send(payload);
      if (sent === 0 || this.#trySend(payload)) sent++;
      // The queue is full: its packets leave with a turn.
      else await this.#connection.until(() => true, 0).then(() => this.#connection.until(() => false, 1));
    }
    await this.#connection.until(() => true, 0);
    const seconds = Math.max(0.000_001, (this.#connection.clockMs - begunMs) / 1_000);
    this.#output.line(`BURST_SENT:${sent}`);
    this.#output.line(`BURST_PPS:${(sent / seconds).toFixed(1)}`);
    while (await this.#answer(this.#plan.waitMs) !== null);
  }

  async #measure(count: number): Promise<void> {
    const times: number[] = [];
    for (let i = 0; i < count; i++) {
      const begunMs = this.#connection.clockMs;
      this.#send(this.#payload());
      const answer = await this.#answer(this.#plan.waitMs);
      if (answer !== null) times.push(Math.round((this.#connection.clockMs - begunMs) * 1_000));
      if (this.#plan.delayMs > 0) await this.#connection.until(() => false, this.#plan.delayMs);
    }
    times.sort((a, b) => a - b);
    const at = (share: number) => times[Math.min(times.length - 1, Math.floor(share * times.length))] ?? 0;
    this.#output.line(`RTT_COUNT:${times.length}`);
    this.#output.line(`RTT_TIMEOUTS:${count - times.length}`);
    // Without an answer there is no time to tell.
    if (times.length === 0) return;
    const rows = {
      MIN_US: times[0] ?? 0,
      MAX_US: times.at(-1) ?? 0,
      AVG_US: Math.round(times.reduce((sum, time) => sum + time, 0) / times.length),
      P50_US: at(0.5),
      P95_US: at(0.95),
      P99_US: at(0.99),
    };
    for (const [name, value] of Object.entries(rows)) this.#output.line(`RTT_${name}:${value}`);
  }

  /** Sends every line that somebody types, and shows what comes meanwhile, until `quit`, `exit` or the end. */
  async #converse(): Promise<void> {
    let next = this.#output.ask();
    for (;;) {
      let line: string | null | undefined;
      const read = next.then((text) => line = text);
      while (line === undefined && this.#connection.ending === null) {
        await this.#answer(50);
        await Promise.race([read, new Promise((resolve) => setTimeout(resolve, 0))]);
      }
      const text = line?.trim() ?? "quit";
      if (text === "quit" || text === "exit") break;
      if (text !== "") this.#send(new TextEncoder().encode(text));
      next = this.#output.ask();
    }
    while (await this.#answer(this.#plan.waitMs) !== null);
  }

  #verdict(): number {
    const isRight = this.#mismatches === 0;
    this.#output.line(`VERIFY_MATCHES:${this.#matches}`);
    this.#output.line(`VERIFY_MISMATCHES:${this.#mismatches}`);
    this.#output.line(`VERIFY_TOTAL:${this.#matches + this.#mismatches}`);
    this.#output.line(`VERIFY_RESULT:${isRight ? "PASS" : "FAIL"}`);
    return isRight ? 0 : 1;
  }

  #payload(): Uint8Array {
    const { message, udp } = this.#plan;
    if (message === null) return new Uint8Array(0);
    if (message.kind === "bytes") return message.bytes;
    const maxBytes = this.#connection.datagramMaxBytes - (udp === null ? 0 : UDP_PACKET_OVERHEAD_BYTES);
    return patternOf(message.pattern, sizeInBytes(message.size, maxBytes), this.#world.entropy);
  }

  #trySend(payload: Uint8Array): boolean {
    const { udp } = this.#plan;
    return this.#connection.send(udp === null ? payload : udpPacketOf(payload, udp.from, udp.to));
  }

  #send(payload: Uint8Array): void {
    if (!this.#trySend(payload)) {
      throw new PosternError(`a payload of ${payload.length} bytes is not taken: BufferTooShort`, {
        code: "too-large",
        hint: `the connection carries ${this.#connection.datagramMaxBytes} bytes in one DATAGRAM`,
      });
    }
    this.#output.say(`DATAGRAM queued: ${payload.length} bytes of payload`);
  }

  /** The next answer, shown; of a UDP packet its payload, and what is no UDP packet is shown and is none. Null: nothing in time. */
  async #answer(waitMs: number): Promise<Uint8Array | null> {
    const { received } = this.#connection;
    const deadlineMs = this.#connection.clockMs + waitMs;
    const isThere = () => {
      this.#takeControl();
      return received.length > 0;
    };
    while (await this.#connection.until(isThere, deadlineMs - this.#connection.clockMs)) {
      const bytes = received.shift() ?? new Uint8Array();
      this.#output.line(`RECV:${toHex(bytes)}`);
      const answer = this.#plan.udp === null ? bytes : udpPayloadOf(bytes);
      if (answer !== null) return answer;
    }
    return null;
  }

  /** Takes the server's words about addresses and registrations from the front of what came. */
  #takeControl(): void {
    const { received } = this.#connection;
    for (let first = received[0]; first !== undefined; first = received[0]) {
      const isAddress = (first[0] === 0x01 || first[0] === 0x02) && decodeQad(first, 0, first.length).kind !== "malformed";
      const isReply = (first[0] === 0x12 || first[0] === 0x13) &&
        decodeRegistrationReply(first, 0, first.length).kind !== "malformed";
      if (!isAddress && !isReply) return;
      received.shift();
      this.#output.line(`RECV:${toHex(first)}`);
    }
  }
}
