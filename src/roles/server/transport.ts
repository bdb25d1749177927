/** The endpoint and the sockets of one worker. */
import { type AcceptPolicy, Endpoint, type EndpointHandler, type Steering } from "../../core/quic/mod.ts";
import { type PacketHandler, type SocketSharing, UdpSocket } from "../../io/mod.ts";
import { classifyFrame, FrameKind, ROUTED_ID_AT, routedIdLength } from "../../core/wire/mod.ts";
import { Departures, type Plane, type ServerPlan } from "../control/mod.ts";
import * as limits from "./limits.ts";
import type { ServerMetric } from "./metrics.ts";
import type { ServerRules } from "./rules.ts";

/** `steering`: with other workers behind the same addresses, with whom it shares what is allowed before anybody is known. */
export function createEndpoint(
  plane: Plane,
  plan: ServerPlan,
  handler: EndpointHandler,
  rules: ServerRules,
  policy: AcceptPolicy,
  steering?: Steering,
): Endpoint {
  const { layout, engine, reactor, entropy, crypto } = plane.platform;
  const { datagramBytesMax, handshakesMax } = limits.SERVER_ENDPOINT;
  const workers = steering?.workers ?? 1;
  return new Endpoint({
    engine,
    timers: reactor,
    entropy,
    handler,
    limits: { ...limits.SERVER_ENDPOINT, handshakesMax: Math.ceil(handshakesMax / workers) },
    datagramAt: layout.reserve(limits.ROUTED_HEADROOM_BYTES + datagramBytesMax) + limits.ROUTED_HEADROOM_BYTES,
    rotation: { ...limits.ROTATION, intervalMs: plan.cidRotationMs },
    resetHmac: crypto.hmacSha256(rules.resetKey),
    accepting: rules.acceptOptions(policy, workers),
    ...(steering === undefined ? {} : { steering }),
  });
}

/** What waits for connections of this worker; `count` gets what leaves from there, and what cannot. */
export function createDepartures(
  plane: Plane,
  endpoint: Endpoint,
  count: (metric: ServerMetric, amount?: number) => void,
): Departures {
  const { engine, layout } = plane.platform;
  const { bytes } = engine.arena;
  return new Departures({
    engine,
    layout,
    limits: limits.DEPARTURES,
    sendNow: (connection) => endpoint.sendNow(connection),
    onLeft: (offset, length) => {
      count("relayedDatagrams");
      count("relayedBytes", payloadBytes(bytes, offset, length));
    },
    onTooLarge: () => count("droppedTooLarge"),
  });
}

/** Of the packet in a datagram, whichever frame it has. */
export function payloadBytes(bytes: Uint8Array, offset: number, length: number): number {
  const isRouted = classifyFrame(bytes, offset, length) === FrameKind.routed;
  return isRouted ? length - ROUTED_ID_AT - routedIdLength(bytes, offset, length) : length;
}

/** Binds every address of the plan. Throws a PosternError that names the one that cannot be. */
export function bindSockets(
  plane: Plane,
  plan: ServerPlan,
  onPacket: PacketHandler,
  onWritable: () => void,
  sharing: SocketSharing | null,
): UdpSocket[] {
  const { layout, reactor, random } = plane.platform;
  const salt = Math.floor(random() * 0x8000_0000);
  return plan.binds.map((bind) => {
    const socket = new UdpSocket(
      reactor,
      layout,
      bind,
      { ...limits.SERVER_SOCKET, arrivals: { ...limits.ARRIVALS, salt } },
      onPacket,
      onWritable,
      sharing,
    );
    plane.noteBuffers(socket, limits.SERVER_SOCKET.kernelBufferBytes);
    return socket;
  });
}
