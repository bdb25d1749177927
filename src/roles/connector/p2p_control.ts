/**
 * What is said on the P2P socket outside of QUIC (WIRE 6.7 to 6.9): keepalives and binding requests are answered to where they came
 * from, as far as a rate allows; answers to our own requests go to the checks that asked. Nothing else is taken from QUIC.
 */
import type { SocketAddress } from "../../base/mod.ts";
import { TokenBucket } from "../../core/ratelimit/mod.ts";
import {
  BINDING_MAX_BYTES,
  type BindingMessage,
  classifyP2pPacket,
  decodeBinding,
  encodeBinding,
  encodeKeepalive,
  keepaliveSequence,
  P2pPacket,
} from "../../core/wire/mod.ts";
import { readSockaddr, SOCKADDR_SLOT_BYTES, type UdpSocket, writeSockaddr } from "../../io/mod.ts";
import type { Plane } from "../control/mod.ts";
import { P2P_ANSWER_RATE } from "./limits.ts";
import type { ConnectorMetric } from "./metrics.ts";

export interface P2pControlOptions {
  readonly plane: Plane;
  readonly count: (metric: ConnectorMetric, amount: number) => void;
  /** Somebody answered a binding request. False when it was not ours. */
  readonly onBindingResponse: (response: BindingMessage & { readonly kind: "binding-response" }, from: SocketAddress) => boolean;
}

export class P2pControl {
  readonly #options: P2pControlOptions;
  readonly #answers: TokenBucket;
  readonly #slot: number;
  readonly #written = new Set<UdpSocket>();

  constructor(options: P2pControlOptions) {
    this.#options = options;
    const { reactor, layout } = options.plane.platform;
    this.#answers = new TokenBucket(P2P_ANSWER_RATE, reactor.nowMs);
    this.#slot = layout.reserve(SOCKADDR_SLOT_BYTES);
    reactor.onTurnEnd(() => this.#flush());
  }

  /** Takes a UDP payload that is no QUIC packet. False: it is one. */
  take(socket: UdpSocket, offset: number, length: number, from: number): boolean {
    const { bytes } = this.#options.plane.platform.engine.arena;
    const kind = classifyP2pPacket(bytes, offset, length);
    if (kind === P2pPacket.quic) return false;
    if (kind === P2pPacket.keepaliveRequest) this.#answerKeepalive(socket, offset, from);
    else if (kind === P2pPacket.binding) this.#takeBinding(socket, offset, length, from);
    else this.#options.count("p2pDroppedControl", 1);
    return true;
  }

  /** Asks whether there is somebody at this address. */
  sendBinding(socket: UdpSocket, to: SocketAddress, message: BindingMessage): void {
    const { arena } = this.#options.plane.platform.engine;
    if (writeSockaddr(arena, this.#slot, { address: to.ip, port: to.port }) === 0) return;
    this.#sendBinding(socket, this.#slot, message);
  }

  #answerKeepalive(socket: UdpSocket, offset: number, from: number): void {
    const { plane, count } = this.#options;
    if (!this.#mayAnswer()) return;
    const { bytes } = plane.platform.engine.arena;
    const sequence = keepaliveSequence(bytes, offset);
    const at = socket.room(BINDING_MAX_BYTES);
    if (at < 0) return;
    socket.commit(encodeKeepalive(bytes, at, "response", sequence), from);
    this.#written.add(socket);
    count("p2pKeepalives", 1);
  }

  #takeBinding(socket: UdpSocket, offset: number, length: number, from: number): void {
    const { plane, count, onBindingResponse } = this.#options;
    const { arena } = plane.platform.engine;
    const message = decodeBinding(arena.bytes, offset, length);
    const sender = readSockaddr(arena, from);
    if (message.kind === "malformed" || sender === null) return count("p2pDroppedControl", 1);
    const mappedAddress = { ip: sender.address, port: sender.port };
    if (message.kind === "binding-response") {
      if (!onBindingResponse(message, mappedAddress)) count("p2pDroppedControl", 1);
      return;
    }
    if (!this.#mayAnswer()) return;
    const { transactionId } = message;
    this.#sendBinding(socket, from, { kind: "binding-response", transactionId, success: true, mappedAddress });
    count("p2pBindings", 1);
  }

  #sendBinding(socket: UdpSocket, to: number, message: BindingMessage): void {
    const at = socket.room(BINDING_MAX_BYTES);
    if (at < 0) return;
    socket.commit(encodeBinding(this.#options.plane.platform.engine.arena.bytes, at, message), to);
    this.#written.add(socket);
  }

  #mayAnswer(): boolean {
    if (this.#answers.take(1, this.#options.plane.platform.reactor.nowMs)) return true;
    this.#options.count("p2pDroppedLimit", 1);
    return false;
  }

  #flush(): void {
    if (this.#written.size === 0) return;
    for (const socket of this.#written) socket.flush();
    this.#written.clear();
  }
}
