/**
 * The fields inside a stream header or a token: `type u8 | length u16 BE | value`, in strictly ascending order of types, WIRE
 * 7.2. This file finds them and checks order and lengths against a table; the codecs give them their meaning.
 */

import { assert } from "../../base/mod.ts";
import { type Malformed, malformed } from "./malformed.ts";

const FIELD_LENGTH_AT = 1;
const FIELD_VALUE_AT = 3;
/** Unknown fields from this type on may be skipped; below it they must be understood. */
export const FIELD_SKIPPABLE_FROM = 0x80;

/** A field that a codec knows: the bounds of its value's length in bytes. */
export interface FieldRule {
  readonly type: number;
  readonly lengthMin: number;
  readonly lengthMax: number;
}

/** Where a value stands in the buffer that was read. */
export interface FieldRange {
  readonly offset: number;
  readonly length: number;
}

export interface Fields {
  readonly kind: "fields";
  readonly ranges: ReadonlyMap<number, FieldRange>;
  /** How many unknown fields were skipped. */
  readonly skipped: number;
}

/** Reads the fields that fill `length` bytes from `offset` exactly. */
export function readFields(bytes: Uint8Array, offset: number, length: number, rules: readonly FieldRule[]): Fields | Malformed {
  const ranges = new Map<number, FieldRange>();
  const end = offset + length;
  let at = offset;
  let previous = -1;
  let skipped = 0;
  while (at < end) {
    if (at + FIELD_VALUE_AT > end) return malformed("truncated");
    const type = bytes[at] ?? 0;
    const valueLength = (bytes[at + FIELD_LENGTH_AT] ?? 0) << 8 | (bytes[at + FIELD_LENGTH_AT + 1] ?? 0);
    const valueAt = at + FIELD_VALUE_AT;
    if (valueAt + valueLength > end) return malformed("truncated");
    if (type <= previous) return malformed("field-order");
    previous = type;
    at = valueAt + valueLength;
    const rule = rules.find((candidate) => candidate.type === type);
    if (rule === undefined) {
      if (type < FIELD_SKIPPABLE_FROM) return malformed("field-unknown");
      skipped++;
      continue;
    }
    if (valueLength < rule.lengthMin || valueLength > rule.lengthMax) return malformed("field-length");
    ranges.set(type, { offset: valueAt, length: valueLength });
  }
  return { kind: "fields", ranges, skipped };
}

/** Writes one field whose value is already at `offset + 3` and returns the offset behind it. */
export function closeField(bytes: Uint8Array, offset: number, type: number, length: number): number {
  assert(length >= 0 && length <= 0xffff && offset + FIELD_VALUE_AT + length <= bytes.length, "a field that fits");
  bytes[offset] = type;
  bytes[offset + FIELD_LENGTH_AT] = length >> 8;
  bytes[offset + FIELD_LENGTH_AT + 1] = length & 255;
  return offset + FIELD_VALUE_AT + length;
}

/** Writes one field and returns the offset behind it. */
export function writeField(bytes: Uint8Array, offset: number, type: number, value: Uint8Array): number {
  assert(offset + FIELD_VALUE_AT + value.length <= bytes.length, "a field that fits");
  bytes.set(value, offset + FIELD_VALUE_AT);
  return closeField(bytes, offset, type, value.length);
}
