/**
 * Several endpoints behind one address, one for each worker: the kernel gives a packet to the worker whose number stands in the
 * packet's destination ID. Of the first byte of an ID the low six bits say it, as a number modulo the number of workers:
 *
 *   short header   byte 1 of the packet       long header   byte 6 of the packet (RFC 9000 §17.2)
 *
 * A client's first packets carry an ID of its own making: they land anywhere, and a Retry places the client by the ID that it gives.
 */

import type { PacketPath } from "./connection.ts";
import { LOCAL_CID_BYTES } from "./header.ts";

/** Of the first byte of an ID. */
const WORKER_BITS = 0x3f;

export interface Steering {
  /** The number of this worker, from 0, and how many there are. */
  readonly worker: number;
  readonly workers: number;
  /** The worker that shall have a client which is about to prove its address; `chance` is a byte of the client's making. */
  readonly place: (chance: number, nowMs: number) => number;
  /**
   * Gives another worker a packet that is its: the kernel steers a batch by its first packet, and a client with several connections
   * may have put them all in one. `from` is a sockaddr slot. False when it is lost.
   */
  readonly handOver: (worker: number, path: PacketPath, offset: number, length: number, from: number) => boolean;
}

/** Writes a worker's number into an ID that is random as yet. */
export function steerId(id: Uint8Array, worker: number, workers: number): void {
  const byte = id[0] ?? 0;
  let low = byte & WORKER_BITS;
  low += worker - low % workers;
  if (low > WORKER_BITS) low -= workers;
  id[0] = (byte & ~WORKER_BITS) | low;
}

/** The worker that an ID's first byte names. */
export function workerOfByte(byte: number, workers: number): number {
  return (byte & WORKER_BITS) % workers;
}

/** The same as a program for the kernel (classic BPF, `SO_ATTACH_REUSEPORT_CBPF`): `struct sock_filter`s of eight bytes. */
export function steeringProgram(workers: number): Uint8Array {
  const load = 0x30, jumpIfSet = 0x45, and = 0x54, modulo = 0x94, answer = 0x16;
  const code: readonly (readonly [code: number, jt: number, jf: number, k: number])[] = [
    [load, 0, 0, 0],
    [jumpIfSet, 0, 2, 0x80],
    [load, 0, 0, 6],
    [0x05, 0, 0, 1],
    [load, 0, 0, 1],
    [and, 0, 0, WORKER_BITS],
    [modulo, 0, 0, workers],
    [answer, 0, 0, 0],
  ];
  const bytes = new Uint8Array(code.length * 8);
  const view = new DataView(bytes.buffer);
  for (const [i, [op, jt, jf, k]] of code.entries()) {
    view.setUint16(8 * i, op, true);
    view.setUint8(8 * i + 2, jt);
    view.setUint8(8 * i + 3, jf);
    view.setUint32(8 * i + 4, k, true);
  }
  return bytes;
}

/** Whether the packet is another worker's; it has it then, or it is lost. */
export function isForeign(
  { worker, workers, handOver }: Steering,
  counters: { handedOver: number; foreignId: number },
  view: DataView,
  path: PacketPath,
  offset: number,
  length: number,
  from: number,
): boolean {
  if (length <= LOCAL_CID_BYTES) return false;
  const isShort = (view.getUint8(offset) & 0x80) === 0;
  const owner = workerOfByte(view.getUint8(offset + (isShort ? 1 : 6)), workers);
  if (owner === worker) return false;
  if (handOver(owner, path, offset, length, from)) counters.handedOver++;
  else counters.foreignId++;
  return true;
}
