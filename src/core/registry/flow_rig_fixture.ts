/** One service, two agents and a connector around a flow table, for this folder's tests. */

import { assert } from "@std/assert";
import { FLOW_LIMITS, flowDropName, FlowTable, Registry } from "./mod.ts";
import { addressesOf, answerTo, buildPacket, type Sample } from "./sample_packets_fixture.ts";

export const A = 1;
export const B = 2;
export const C1 = 11;
export const C2 = 12;
export const UDP: Sample = { protocol: "udp", source: 1, destination: 900, sourcePort: 5000, destinationPort: 53 };
export const TCP: Sample = { ...UDP, protocol: "tcp" };
export const PING: Sample = { ...UDP, protocol: "icmp" };
export const KINDS = [UDP, TCP, PING].flatMap((sample) => [sample, { ...sample, family: 6 as const }]);

export class Rig {
  readonly registry = new Registry();
  readonly service: number;
  readonly flows: FlowTable;
  nowMs = 1_000_000;

  constructor(limits = {}) {
    let state = 12345;
    const random32 = () => state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    this.flows = new FlowTable(this.registry, random32, { ...FLOW_LIMITS, ...limits });
    this.registry.registerAgent(A, "web", "id-a");
    this.registry.registerAgent(B, "web", "id-b");
    this.service = this.connect(C1, "web");
  }

  connect(peer: number, service: string): number {
    const outcome = this.registry.registerConnector(
      peer,
      service,
      { identity: `${peer}`, label: "", takesStreams: true },
      this.nowMs,
    );
    assert(outcome.kind === "registered");
    return outcome.service;
  }

  up(agent: number, packet: Uint8Array, service = this.service): number {
    return this.flows.fromAgent(agent, service, packet, 0, packet.length, this.nowMs);
  }

  down(connector: number, packet: Uint8Array, service = this.service): number {
    return this.flows.fromConnector(connector, service, packet, 0, packet.length, this.nowMs);
  }

  /** The agent that an answer reaches, or the name of the drop. */
  answer(connector: number, packet: Uint8Array, service = this.service): number | string | null {
    const slot = this.down(connector, packet, service);
    return slot < 0 ? flowDropName(slot) : this.flows.agentOf(slot);
  }
}

/** The connector's answer to a packet as it saw it. */
export function answerAsSeen(seen: Uint8Array, sample: Sample): Uint8Array {
  const packet = buildPacket(answerTo(sample));
  const { source, destination } = addressesOf(seen);
  packet.set(destination, seen[0] === 0x45 ? 12 : 8);
  packet.set(source, seen[0] === 0x45 ? 16 : 24);
  return rebuilt(packet);
}

/** The packet with its checksums computed anew. */
function rebuilt(packet: Uint8Array): Uint8Array {
  const copy = packet.slice();
  const at = copy[0] === 0x45 ? 20 : 40;
  const protocol = copy[at === 20 ? 9 : 6];
  const field = at + (protocol === 6 ? 16 : protocol === 17 ? 6 : 2);
  const view = new DataView(copy.buffer);
  const ones = (from: number, to: number): number => {
    let total = 0;
    for (let i = from; i < to; i++) total += (copy[i] ?? 0) * ((i - from) % 2 === 0 ? 256 : 1);
    return total;
  };
  const fold = (total: number): number => total > 0xffff ? fold((total & 0xffff) + (total >>> 16)) : total;
  if (at === 20) {
    view.setUint16(10, 0);
    view.setUint16(10, 0xffff ^ fold(ones(0, 20)));
  }
  view.setUint16(field, 0);
  const pseudo = protocol === 1 ? 0 : ones(at === 20 ? 12 : 8, at) + (protocol ?? 0) + copy.length - at;
  const checksum = 0xffff ^ fold(pseudo + ones(at, copy.length));
  view.setUint16(field, protocol === 17 && checksum === 0 ? 0xffff : checksum);
  return copy;
}
