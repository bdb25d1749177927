/**
 * Flows by path, addresses and ports: a hash table with chains through the flows themselves, so that finding one costs no
 * allocation and no text. The hash is seeded: whoever chooses addresses and ports does not choose the chain.
 */
import type { IpEnds } from "../wire/mod.ts";
import type { PacketPath } from "./path.ts";
import type { FlowNode } from "./tcp_session.ts";

export class FlowTable<T extends FlowNode> {
  size = 0;
  readonly #buckets: (FlowNode | null)[];
  readonly #mask: number;
  readonly #seed: number;

  /** `expected` flows find about one per chain; the chains bear any number. */
  constructor(expected: number, seed: number) {
    const buckets = 2 ** Math.ceil(Math.log2(Math.max(16, expected)));
    this.#buckets = new Array<FlowNode | null>(buckets).fill(null);
    this.#mask = buckets - 1;
    this.#seed = seed;
  }

  /** The flow that a packet which came by `path` belongs to: its source is the flow's destination. */
  find(path: PacketPath, packet: IpEnds, localPort: number, remotePort: number): T | null {
    const hash = mix(this.#seed, path.id, packet.destination3, packet.source3, packet.source1, localPort << 16 | remotePort);
    let node = this.#buckets[hash & this.#mask] ?? null;
    while (node !== null) {
      if (
        node.hash === hash && node.path === path && node.localPort === localPort && node.remotePort === remotePort &&
        isReversed(node.ends, packet)
      ) return node as T;
      node = node.nextInBucket;
    }
    return null;
  }

  /** Adds a flow that is not in the table. */
  add(flow: T): void {
    const { ends } = flow;
    flow.hash = mix(
      this.#seed,
      flow.path.id,
      ends.source3,
      ends.destination3,
      ends.destination1,
      flow.localPort << 16 | flow.remotePort,
    );
    const bucket = flow.hash & this.#mask;
    flow.nextInBucket = this.#buckets[bucket] ?? null;
    this.#buckets[bucket] = flow;
    this.size++;
  }

  /** Removes the flow; nothing happens when it is not there. */
  remove(flow: T): void {
    const bucket = flow.hash & this.#mask;
    let node = this.#buckets[bucket] ?? null;
    let before: FlowNode | null = null;
    while (node !== null && node !== flow) {
      before = node;
      node = node.nextInBucket;
    }
    if (node === null) return;
    if (before === null) this.#buckets[bucket] = node.nextInBucket;
    else before.nextInBucket = node.nextInBucket;
    node.nextInBucket = null;
    this.size--;
  }

  /** All flows at this moment: a copy, so that any of them may be removed meanwhile. */
  all(): T[] {
    const flows: T[] = [];
    for (let node of this.#buckets) {
      for (; node !== null; node = node.nextInBucket) flows.push(node as T);
    }
    return flows;
  }
}

function isReversed(flow: IpEnds, packet: IpEnds): boolean {
  return flow.destination3 === packet.source3 && flow.source3 === packet.destination3 && flow.isIpv4 === packet.isIpv4 &&
    flow.destination2 === packet.source2 && flow.source2 === packet.destination2 && flow.destination1 === packet.source1 &&
    flow.source1 === packet.destination1 && flow.destination0 === packet.source0 && flow.source0 === packet.destination0;
}

function mix(seed: number, pathId: number, local: number, remote: number, remoteMiddle: number, ports: number): number {
  let hash = seed ^ Math.imul(local, 0x9e3779b1);
  hash = Math.imul(hash ^ (hash >>> 15) ^ remote, 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13) ^ ports, 0xc2b2ae35);
  hash = Math.imul(hash ^ (hash >>> 16) ^ remoteMiddle ^ seed, 0x27d4eb2f);
  hash = Math.imul(hash ^ (hash >>> 15) ^ pathId, 0x165667b1);
  return hash ^ (hash >>> 16);
}
