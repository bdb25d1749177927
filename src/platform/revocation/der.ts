/** The few forms of DER (X.690) that a revocation list is made of. Everything is bounded by what holds it; nothing is copied. */

export const Tag = {
  integer: 0x02,
  bitString: 0x03,
  oid: 0x06,
  utf8: 0x0c,
  numeric: 0x12,
  printable: 0x13,
  t61: 0x14,
  ia5: 0x16,
  utcTime: 0x17,
  generalizedTime: 0x18,
  visible: 0x1a,
  universal: 0x1c,
  bmp: 0x1e,
  sequence: 0x30,
  set: 0x31,
} as const;

/** One element: its tag, and where it and its content lie. */
export interface Element {
  readonly tag: number;
  /** The first byte of the whole element, of its content, and the first one behind it. */
  readonly at: number;
  readonly contentAt: number;
  readonly end: number;
}

/** Reads element after element of `bytes`. Throws {@linkcode RangeError} where they are not DER. */
export class DerReader {
  readonly bytes: Uint8Array;
  readonly #end: number;
  #at: number;

  constructor(bytes: Uint8Array, at = 0, end: number = bytes.length) {
    this.bytes = bytes;
    this.#at = at;
    this.#end = end;
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#end;
  }

  /** The tag of the next element, -1 at the end. */
  get nextTag(): number {
    return this.isAtEnd ? -1 : this.bytes[this.#at] ?? -1;
  }

  /** The next element, which must have this tag if one is named. */
  next(tag?: number): Element {
    const at = this.#at;
    const found = this.#byte();
    if (tag !== undefined && found !== tag) throw new RangeError(`not DER: tag ${found} where ${tag} was expected`);
    let length = this.#byte();
    if (length > 0x80) {
      let count = length & 0x7f;
      if (count > 4) throw new RangeError("not DER: a length of more than four bytes");
      for (length = 0; count > 0; count--) length = length * 256 + this.#byte();
    } else if (length === 0x80) throw new RangeError("not DER: an indefinite length");
    const contentAt = this.#at;
    const end = contentAt + length;
    if (end > this.#end) throw new RangeError("not DER: an element reaches beyond what holds it");
    this.#at = end;
    return { tag: found, at, contentAt, end };
  }

  /** A reader of the content of an element. */
  inside(element: Element): DerReader {
    return new DerReader(this.bytes, element.contentAt, element.end);
  }

  /** A reader of the content of the next element, which must have this tag. */
  enter(tag: number): DerReader {
    return this.inside(this.next(tag));
  }

  #byte(): number {
    const byte = this.#at < this.#end ? this.bytes[this.#at] : undefined;
    if (byte === undefined) throw new RangeError("not DER: it ends too early");
    this.#at++;
    return byte;
  }
}
