/**
 * What is said on a client's sockets outside of QUIC (WIRE 6.7 to 6.9): keepalives and binding requests are answered to where they
 * came from, as far as the role wants that and a rate allows; answers to our own requests go to the checks that asked. Nothing else
 * is taken from QUIC.
 */
import type { SocketAddress } from "../../base/mod.ts";
import { type Rate, TokenBucket } from "../../core/ratelimit/mod.ts";
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

/** What became of one packet. */
export type ControlEvent = "keepalive-answered" | "binding-answered" | "over-limit" | "dropped";

export interface DirectControlOptions {
  readonly plane: Plane;
  readonly onEvent: (event: ControlEvent) => void;
  readonly answers: Rate;
  readonly answersKeepalives: boolean;
  /** Somebody asks whether we are here. False: there is no answer. */
  readonly onBindingRequest: (from: SocketAddress) => boolean;
  /** Somebody answered a binding request. False when it was not ours. */
  readonly onBindingResponse: (response: BindingMessage & { readonly kind: "binding-response" }, from: SocketAddress) => boolean;
}

export class DirectControl {
  readonly #options: DirectControlOptions;
  readonly #answers: TokenBucket;
  readonly #slot: number;
  readonly #written = new Set<UdpSocket>();

  constructor(options: DirectControlOptions) {
    this.#options = options;
    const { reactor, layout } = options.plane.platform;
    this.#answers = new TokenBucket(options.answers, reactor.nowMs);
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
    else this.#options.onEvent("dropped");
    return true;
  }

  /** Asks whether there is somebody at this address. */
  sendBinding(socket: UdpSocket, to: SocketAddress, message: BindingMessage): void {
    const { arena } = this.#options.plane.platform.engine;
    if (writeSockaddr(arena, this.#slot, { address: to.ip, port: to.port }) === 0) return;
    this.#sendBinding(socket, this.#slot, message);
  }

  #answerKeepalive(socket: UdpSocket, offset: number, from: number): void {
    const { plane, onEvent, answersKeepalives } = this.#options;
    if (!answersKeepalives) return onEvent("dropped");
    if (!this.#mayAnswer()) return;
    const { bytes } = plane.platform.engine.arena;
    const sequence = keepaliveSequence(bytes, offset);
    const at = socket.room(BINDING_MAX_BYTES);
    if (at < 0) return;
    socket.commit(encodeKeepalive(bytes, at, "response", sequence), from);
    this.#written.add(socket);
    onEvent("keepalive-answered");
  }

  #takeBinding(socket: UdpSocket, offset: number, length: number, from: number): void {
    const { plane, onEvent, onBindingRequest, onBindingResponse } = this.#options;
    const { arena } = plane.platform.engine;
    const message = decodeBinding(arena.bytes, offset, length);
    const sender = readSockaddr(arena, from);
    if (message.kind === "malformed" || sender === null) return onEvent("dropped");
    const mappedAddress = { ip: sender.address, port: sender.port };
    if (message.kind === "binding-response") {
      if (!onBindingResponse(message, mappedAddress)) onEvent("dropped");
      return;
    }
    if (!onBindingRequest(mappedAddress)) return onEvent("dropped");
    if (!this.#mayAnswer()) return;
    const { transactionId } = message;
    this.#sendBinding(socket, from, { kind: "binding-response", transactionId, success: true, mappedAddress });
    onEvent("binding-answered");
  }

  #sendBinding(socket: UdpSocket, to: number, message: BindingMessage): void {
    const at = socket.room(BINDING_MAX_BYTES);
    if (at < 0) return;
    socket.commit(encodeBinding(this.#options.plane.platform.engine.arena.bytes, at, message), to);
    this.#written.add(socket);
  }

  #mayAnswer(): boolean {
    if (this.#answers.take(1, this.#options.plane.platform.reactor.nowMs)) return true;
    this.#options.onEvent("over-limit");
    return false;
  }

  #flush(): void {
    if (this.#written.size === 0) return;
    for (const socket of this.#written) socket.flush();
    this.#written.clear();
  }
}
