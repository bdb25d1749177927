/**
 * Local UDP clients by the address that their datagrams come from, as it stands in a sockaddr slot. Found without making anything:
 * every datagram asks.
 */
import { AF_INET6, SOCKADDR_SLOT_BYTES } from "../../io/mod.ts";

/** What is kept about a client. */
export interface UdpClient {
  /** A copy of its sockaddr slot. */
  readonly address: DataView;
  /** The next client with the same hash; owned by {@linkcode ClientTable}. */
  nextClient: UdpClient | null;
}

// struct sockaddr_in: family, port, address; sockaddr_in6: family, port, flow label, address (16), scope.
const V4_BYTES = 8, V6_BYTES = 28;

export class ClientTable<T extends UdpClient> {
  readonly #byHash = new Map<number, T>();
  readonly #seed: number;
  size = 0;

  /** `seed`: random, so that nobody can choose addresses of one hash. */
  constructor(seed: number) {
    this.#seed = seed;
  }

  /** The client whose address stands at `slot`, or null. */
  find(view: DataView, slot: number): T | null {
    let client = this.#byHash.get(this.#hash(view, slot)) ?? null;
    while (client !== null && !isSame(client.address, view, slot)) client = client.nextClient as T | null;
    return client;
  }

  /** Adds a client that is not in the table. */
  add(client: T): void {
    const hash = this.#hash(client.address, 0);
    client.nextClient = this.#byHash.get(hash) ?? null;
    this.#byHash.set(hash, client);
    this.size++;
  }

  remove(client: T): void {
    const hash = this.#hash(client.address, 0);
    let before: T | null = null;
    for (let at = this.#byHash.get(hash) ?? null; at !== null; before = at, at = at.nextClient as T | null) {
      if (at !== client) continue;
      const next = client.nextClient as T | null;
      if (before !== null) before.nextClient = next;
      else if (next !== null) this.#byHash.set(hash, next);
      else this.#byHash.delete(hash);
      client.nextClient = null;
      this.size--;
      return;
    }
  }

  #hash(view: DataView, slot: number): number {
    let hash = this.#seed;
    for (let at = 0; at < addressBytes(view, slot); at += 4) {
      hash = Math.imul(hash ^ view.getInt32(slot + at), 0x9e3779b1);
      hash ^= hash >>> 15;
    }
    return hash;
  }
}

/** A copy of the sockaddr at `slot`. */
export function copyAddress(view: DataView, slot: number): DataView {
  return new DataView(view.buffer.slice(view.byteOffset + slot, view.byteOffset + slot + SOCKADDR_SLOT_BYTES));
}

function addressBytes(view: DataView, slot: number): number {
  return view.getUint16(slot, true) === AF_INET6 ? V6_BYTES : V4_BYTES;
}

function isSame(a: DataView, view: DataView, slot: number): boolean {
  for (let at = 0; at < addressBytes(a, 0); at += 4) if (a.getInt32(at) !== view.getInt32(slot + at)) return false;
  return true;
}
