/** Flows as a person reads them: made when somebody looks, never for a packet. */
import { formatIp } from "../../base/mod.ts";
import { FlowAge, flowAge, type FlowLimits, isOver } from "./flow_age.ts";
import { type FlowStore, SlotWord } from "./flow_store.ts";
import { Protocol, Word } from "./inner_packet.ts";

export interface FlowRecord {
  readonly agent: number;
  /** -1 for none. */
  readonly connector: number;
  readonly service: number;
  readonly protocol: "tcp" | "udp" | "icmp";
  /** `over`: a TCP connection of which nothing but repetitions is to come. */
  readonly state: "live" | "over";
  /** As the agent writes them: address with port, for ICMP the address alone. */
  readonly source: string;
  readonly destination: string;
  readonly startedMs: number;
  readonly lastSeenMs: number;
  readonly bytesUp: number;
  readonly bytesDown: number;
}

/** Up to `max` flows that are live. */
export function listFlows(store: FlowStore, limits: FlowLimits, nowMs: number, max: number): FlowRecord[] {
  const found: FlowRecord[] = [];
  for (let slot = 0, left = store.size; slot < store.capacity && left > 0 && found.length < max; slot++) {
    const age = flowAge(store, limits, slot, nowMs);
    if (age === FlowAge.free) continue;
    left--;
    if (age === FlowAge.live) found.push(recordOf(store, slot));
  }
  return found;
}

function recordOf(store: FlowStore, slot: number): FlowRecord {
  const base = slot * SlotWord.count;
  const kind = store.words[base] ?? 0, ports = store.words[base + Word.ports] ?? 0;
  const family = kind >>> 8, number = kind & 0xff;
  const protocol = number === Protocol.tcp ? "tcp" : number === Protocol.udp ? "udp" : "icmp";
  const text = (word: number, port: number) => {
    const address = addressText(store.words, base + word, family);
    if (protocol === "icmp") return address;
    return family === 4 ? `${address}:${port}` : `[${address}]:${port}`;
  };
  return {
    agent: store.agentOf(slot),
    connector: store.connector[slot] ?? -1,
    service: store.serviceOf(slot),
    protocol,
    state: protocol === "tcp" && isOver(store, slot) ? "over" : "live",
    source: text(Word.source, ports >>> 16),
    destination: text(Word.destination, ports & 0xffff),
    startedMs: store.startedMs[slot] ?? 0,
    lastSeenMs: store.lastSeenMs[slot] ?? 0,
    bytesUp: store.bytesUp[slot] ?? 0,
    bytesDown: store.bytesDown[slot] ?? 0,
  };
}

function addressText(words: Uint32Array, at: number, family: number): string {
  const bytes = new Uint8Array(16), view = new DataView(bytes.buffer);
  for (let word = 0; word < 4; word++) view.setUint32(4 * word, words[at + word] ?? 0);
  return formatIp(bytes, 0, family === 4 ? 4 : 16);
}
