/**
 * The primitive types of signalling messages (WIRE 6.2): little endian, fixed width, counts as u64. A reader never throws and
 * never reads outside its range: after the first thing wrong it keeps the reason, and every further read gives zero.
 */

import { assert, decodeUtf8, formatIp, parseIp, type SocketAddress, writeUtf8 } from "../../base/mod.ts";
import type { MalformedWhy } from "./malformed.ts";

export class BincodeReader {
  /** The first thing wrong, or null. */
  why: MalformedWhy | null = null;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #end: number;
  #at: number;

  constructor(bytes: Uint8Array, offset: number, length: number) {
    assert(offset >= 0 && length >= 0 && offset + length <= bytes.length, "a message inside its buffer");
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#at = offset;
    this.#end = offset + length;
  }

  /** Notes the first thing wrong. */
  fail(why: MalformedWhy): void {
    this.why ??= why;
  }

  /** Call last: what is left over is wrong too. */
  end(): void {
    if (this.#at !== this.#end) this.fail("trailing");
  }

  u8(): number {
    const at = this.#take(1);
    return at < 0 ? 0 : this.#view.getUint8(at);
  }

  u16(): number {
    const at = this.#take(2);
    return at < 0 ? 0 : this.#view.getUint16(at, true);
  }

  u32(): number {
    const at = this.#take(4);
    return at < 0 ? 0 : this.#view.getUint32(at, true);
  }

  u64(): bigint {
    const at = this.#take(8);
    return at < 0 ? 0n : this.#view.getBigUint64(at, true);
  }

  /** A u64 that must not exceed `max`. */
  number(max: number): number {
    const value = this.u64();
    if (value <= BigInt(max)) return Number(value);
    this.fail("out-of-range");
    return 0;
  }

  /** One byte, 00 or 01. */
  bool(): boolean {
    const byte = this.u8();
    if (byte > 1) this.fail("not-canonical");
    return byte === 1;
  }

  /** A u32 index into `names`. */
  index<T>(names: readonly [T, ...T[]]): T {
    const name = names[this.u32()];
    if (name === undefined) this.fail("unknown-code");
    return name ?? names[0];
  }

  option<T>(read: () => T): T | null {
    return this.bool() && this.why === null ? read() : null;
  }

  /** A count of items, checked against its limit and against the bytes that are left before anybody allocates. */
  list<T>(countMax: number, itemBytesMin: number, read: () => T): T[] {
    const count = this.u64();
    if (count > BigInt(countMax)) this.fail("too-long");
    else if (Number(count) * itemBytesMin > this.#end - this.#at) this.fail("truncated");
    const items: T[] = [];
    while (this.why === null && items.length < Number(count)) items.push(read());
    return items;
  }

  /** Strict UTF-8 of at most `bytesMax` bytes. */
  string(bytesMax: number): string {
    const length = this.u64();
    if (length > BigInt(bytesMax)) this.fail("too-long");
    const at = this.#take(this.why === null ? Number(length) : 0);
    const text = at < 0 ? "" : decodeUtf8(this.#bytes, at, Number(length));
    if (text === null) this.fail("not-utf8");
    return text ?? "";
  }

  /** `length` bytes, copied. */
  bytes(length: number): Uint8Array {
    const at = this.#take(length);
    return at < 0 ? new Uint8Array(length) : this.#bytes.slice(at, at + length);
  }

  /** The port is little endian here, unlike everywhere else on the wire. */
  socketAddress(): SocketAddress {
    const ipLength = this.index<4 | 16>([4, 16]);
    const at = this.#take(ipLength);
    return { ip: at < 0 ? "0.0.0.0" : formatIp(this.#bytes, at, ipLength), port: this.u16() };
  }

  /** Where the next `length` bytes stand, or -1 when something is wrong. */
  #take(length: number): number {
    if (this.why === null && this.#at + length > this.#end) this.fail("truncated");
    if (this.why !== null) return -1;
    const at = this.#at;
    this.#at += length;
    return at;
  }
}

/** Writes where there is room for everything: what does not fit is a mistake of ours. */
export class BincodeWriter {
  /** The offset behind what was written. */
  at: number;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;

  constructor(bytes: Uint8Array, offset: number) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.at = offset;
  }

  u8(value: number): void {
    this.#view.setUint8(this.#take(1), value);
  }

  u16(value: number): void {
    this.#view.setUint16(this.#take(2), value, true);
  }

  u32(value: number): void {
    this.#view.setUint32(this.#take(4), value, true);
  }

  u64(value: bigint): void {
    this.#view.setBigUint64(this.#take(8), value, true);
  }

  bool(value: boolean): void {
    this.u8(value ? 1 : 0);
  }

  index<T>(names: readonly T[], name: T): void {
    const index = names.indexOf(name);
    assert(index >= 0, "a name of the enumeration");
    this.u32(index);
  }

  option<T>(value: T | null, write: (value: T) => void): void {
    this.bool(value !== null);
    if (value !== null) write(value);
  }

  list<T>(items: readonly T[], write: (item: T) => void): void {
    this.u64(BigInt(items.length));
    for (const item of items) write(item);
  }

  string(text: string, bytesMax: number): void {
    const lengthAt = this.#take(8);
    const length = writeUtf8(text, this.#bytes, this.at, bytesMax);
    assert(length >= 0, "a text that fits");
    this.#view.setBigUint64(lengthAt, BigInt(length), true);
    this.at += length;
  }

  bytes(value: Uint8Array): void {
    this.#bytes.set(value, this.#take(value.length));
  }

  socketAddress(address: SocketAddress): void {
    const ip = parseIp(address.ip);
    assert(ip !== null, "an IP address");
    this.u32(ip.length === 4 ? 0 : 1);
    this.bytes(ip);
    this.u16(address.port);
  }

  #take(length: number): number {
    const at = this.at;
    assert(at + length <= this.#bytes.length, "room for the message");
    this.at = at + length;
    return at;
  }
}
