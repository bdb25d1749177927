/**
 * A distinguished name as the native library writes it (RFC 2253, letters outside ASCII readable): two names are one issuer if
 * their texts are equal. A test compares it with the library's own.
 */
import { DerReader, type Element, Tag } from "./der.ts";

/** Short names of attribute types, as the library has them. Others are written as numbers. */
const ATTRIBUTES: Readonly<Record<string, string>> = {
  "2.5.4.3": "CN",
  "2.5.4.4": "SN",
  "2.5.4.5": "serialNumber",
  "2.5.4.6": "C",
  "2.5.4.7": "L",
  "2.5.4.8": "ST",
  "2.5.4.9": "street",
  "2.5.4.10": "O",
  "2.5.4.11": "OU",
  "2.5.4.12": "title",
  "2.5.4.13": "description",
  "2.5.4.17": "postalCode",
  "2.5.4.41": "name",
  "2.5.4.42": "GN",
  "2.5.4.43": "initials",
  "2.5.4.44": "generationQualifier",
  "2.5.4.45": "x500UniqueIdentifier",
  "2.5.4.46": "dnQualifier",
  "2.5.4.65": "pseudonym",
  "0.9.2342.19200300.100.1.1": "UID",
  "0.9.2342.19200300.100.1.25": "DC",
  "1.2.840.113549.1.9.1": "emailAddress",
  "1.2.840.113549.1.9.2": "unstructuredName",
};

/** The text of the Name that the reader stands at. */
export function nameText(reader: DerReader): string {
  const names: string[] = [];
  const sequence = reader.enter(Tag.sequence);
  while (!sequence.isAtEnd) {
    const set = sequence.enter(Tag.set);
    const parts: string[] = [];
    while (!set.isAtEnd) parts.push(attributeText(set.enter(Tag.sequence)));
    names.push(parts.reverse().join("+"));
  }
  return names.reverse().join(",");
}

function attributeText(attribute: DerReader): string {
  const type = oidText(attribute.bytes, attribute.next(Tag.oid));
  const value = attribute.next();
  const name = ATTRIBUTES[type];
  const text = name === undefined ? null : stringOf(attribute.bytes, value);
  if (text !== null) return `${name}=${printable(escapeValue(text))}`;
  return `${name ?? type}=#${hex(attribute.bytes.subarray(value.at, value.end))}`;
}

function oidText(bytes: Uint8Array, { contentAt, end }: Element): string {
  const numbers: number[] = [];
  let number = 0;
  for (let at = contentAt; at < end; at++) {
    const byte = bytes[at] ?? 0;
    number = number * 128 + (byte & 0x7f);
    if ((byte & 0x80) !== 0) continue;
    if (numbers.length === 0) {
      const first = Math.min(2, Math.floor(number / 40));
      numbers.push(first, number - 40 * first);
    } else numbers.push(number);
    number = 0;
  }
  return numbers.join(".");
}

/** The string types of X.520; null for anything else. */
function stringOf(bytes: Uint8Array, { tag, contentAt, end }: Element): string | null {
  const content = bytes.subarray(contentAt, end);
  switch (tag) {
    case Tag.utf8:
      return new TextDecoder("utf-8", { ignoreBOM: true }).decode(content);
    case Tag.numeric:
    case Tag.printable:
    case Tag.ia5:
    case Tag.visible:
    case Tag.t61:
      return Array.from(content, (byte) => String.fromCharCode(byte)).join("");
    case Tag.bmp:
      return unitsOf(content, 2);
    case Tag.universal:
      return unitsOf(content, 4);
    default:
      return null;
  }
}

function unitsOf(content: Uint8Array, size: 2 | 4): string {
  let text = "";
  for (let at = 0; at + size <= content.length; at += size) {
    let code = 0;
    for (let i = 0; i < size; i++) code = code * 256 + (content[at + i] ?? 0);
    text += code <= 0x10ffff ? String.fromCodePoint(code) : "\ufffd";
  }
  return text;
}

/** RFC 2253 §2.4, and control characters as two hexadecimal digits. */
function escapeValue(text: string): string {
  const characters = [...text];
  return characters.map((character, at) => {
    const code = character.codePointAt(0) ?? 0;
    if (code < 0x20 || code === 0x7f) return `\\${code.toString(16).toUpperCase().padStart(2, "0")}`;
    const isEdge = character === " " && (at === 0 || at === characters.length - 1) || character === "#" && at === 0;
    return isEdge || ',+"\\<>;'.includes(character) ? `\\${character}` : character;
  }).join("");
}

/** Control characters, invisible ones and those that turn the direction of writing, as Rust escapes them. */
const HIDDEN =
  // deno-lint-ignore no-control-regex
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu;

function printable(text: string): string {
  return text.replaceAll(HIDDEN, (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`);
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).toUpperCase().padStart(2, "0")).join("");
}
