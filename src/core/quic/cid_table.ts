/**
 * Which connection does a packet belong to? Our own connection IDs are random and unique in their first six bytes, which make
 * one number: the hot look-up is one `Map.get` without a string. An ID that the peer has retired stays for a while with no
 * owner: its late packets are nobody's, but they are not unknown either. The IDs that clients chose for their first packets
 * live in a second table, keyed by all their bytes, and only while the connection lives.
 */
import { LOCAL_CID_BYTES } from "./header.ts";
import { steerId, type Steering } from "./steering.ts";

const TWO_POW_32 = 4_294_967_296;

export class CidTable<T> {
  readonly #local = new Map<number, T | null>();
  readonly #initial = new Map<string, T>();
  readonly #entropy: (bytes: Uint8Array) => void;
  /** The last answer: packets come in trains of one connection, and a look-up under so large a number is a call and an object. */
  #foundKey = -1;
  #found: T | null | undefined;
  readonly #steering: Steering | null;

  constructor(entropy: (bytes: Uint8Array) => void, steering: Steering | null = null) {
    this.#entropy = entropy;
    this.#steering = steering;
  }

  /** Number of our IDs in the table, retired ones included. */
  get size(): number {
    return this.#local.size;
  }

  get initialSize(): number {
    return this.#initial.size;
  }

  /** Makes an ID that no live connection of ours has, for this worker or another. {@linkcode enter} it before the next one is made. */
  issue(worker: number = this.#steering?.worker ?? 0): Uint8Array {
    const id = new Uint8Array(LOCAL_CID_BYTES);
    do {
      this.#entropy(id);
      // At or above 0x40, a packet to us can never look like a ztna-v1 control packet.
      id[0] = (id[0] as number) | 0x40;
      if (this.#steering !== null) steerId(id, worker, this.#steering.workers);
    } while (this.#local.has(keyOf(id)));
    return id;
  }

  enter(id: Uint8Array, owner: T): void {
    this.#set(keyOf(id), owner);
  }

  /** Leaves the ID without an owner until it is removed. */
  retire(id: Uint8Array): void {
    this.#set(keyOf(id), null);
  }

  /** The number of the ID at `offset`, of {@linkcode LOCAL_CID_BYTES} bytes that the caller checked to be there. */
  keyAt(view: DataView, offset: number): number {
    return view.getUint32(offset) + view.getUint16(offset + 4) * TWO_POW_32;
  }

  /** The owner of the ID with this number; null for one that was retired, undefined for one that is not ours. */
  find(key: number): T | null | undefined {
    if (key === this.#foundKey) return this.#found;
    this.#found = this.#local.get(key);
    this.#foundKey = key;
    return this.#found;
  }

  remove(id: Uint8Array): void {
    this.#forget();
    this.#local.delete(keyOf(id));
  }

  /** Enters the ID that a client chose for the server in its first packets. */
  addInitial(bytes: Uint8Array, offset: number, length: number, owner: T): string {
    const key = textOf(bytes, offset, length);
    this.#initial.set(key, owner);
    return key;
  }

  findInitial(bytes: Uint8Array, offset: number, length: number): T | undefined {
    return this.#initial.get(textOf(bytes, offset, length));
  }

  removeInitial(key: string): void {
    this.#initial.delete(key);
  }

  #set(key: number, owner: T | null): void {
    this.#forget();
    this.#local.set(key, owner);
  }

  #forget(): void {
    this.#foundKey = -1;
    this.#found = undefined;
  }
}

/** The number of one of our IDs. */
export function keyOf(id: Uint8Array): number {
  // Byte by byte: to ask for the buffer of so short an array moves it out of V8's heap.
  let key = 0;
  for (let i = 4; i < 6; i++) key = key * 256 + (id[i] as number);
  for (let i = 0; i < 4; i++) key = key * 256 + (id[i] as number);
  return key;
}

function textOf(bytes: Uint8Array, offset: number, length: number): string {
  let text = "";
  for (let i = 0; i < length; i++) text += String.fromCharCode(bytes[offset + i] as number);
  return text;
}
