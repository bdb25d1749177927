/**
 * Why bytes from outside are not a message. One closed list for all codecs, so that every refusal can be counted under a
 * stable name. Decoders return it; nothing here throws.
 */

/** Each word with what it says; the words are label values of counters. */
export const MALFORMED_WHYS = {
  "first-byte": "the message does not begin with the byte of its kind",
  "truncated": "it ends before what it announces",
  "trailing": "bytes follow its end",
  "too-long": "a length or count is over the limit of this specification",
  "empty": "a value that must not be empty is",
  "not-utf8": "a text is not strict UTF-8",
  "control-characters": "a name has control characters",
  "service-id": "a service id is not of the grammar in force",
  "unknown-code": "an enumeration, status or result code that this specification does not define",
  "not-canonical": "a value in a form that no correct sender writes",
  "out-of-range": "a number outside the range of this specification",
  "address": "an unspecified address or port 0 where a real one must stand",
  "field-order": "field types do not ascend strictly",
  "field-unknown": "an unknown field that must be understood",
  "field-missing": "a required field is absent",
  "field-forbidden": "a field that this sender must not write",
  "field-length": "a field's value has a wrong length",
} as const;

export type MalformedWhy = keyof typeof MALFORMED_WHYS;

/** The result of every decoder for bytes that are not the message. */
export interface Malformed {
  readonly kind: "malformed";
  readonly why: MalformedWhy;
}

/** The result of a decoder of stream bytes that has seen too few: it wants `bytes` in all, counted from the message's start. */
export interface NeedBytes {
  readonly kind: "need";
  readonly bytes: number;
}

export function malformed(why: MalformedWhy): Malformed {
  return { kind: "malformed", why };
}
