/**
 * Section 11 of docs/WIRE.md, written from the vectors: `deno run -A tests/vectors/document.ts`. A test compares the two, so
 * that the document never shows other bytes than those which are tested.
 */

import datagrams from "./datagram.json" with { type: "json" };
import packets from "./ip.json" with { type: "json" };
import kinds from "./kinds.json" with { type: "json" };
import signals from "./signal.json" with { type: "json" };
import streams from "./stream.json" with { type: "json" };

export const DOCUMENT = new URL("../../docs/WIRE.md", import.meta.url);
const BEGIN = "<!-- vectors: begin, written by tests/vectors/document.ts -->\n";
const END = "<!-- vectors: end -->";
/** Bytes of a message that are shown before it is cut. */
const SHOWN_BYTES = 128;

interface Vector {
  readonly name: string;
  readonly wire: string;
  readonly hex: string;
  readonly codec?: string;
  readonly frame?: string;
  readonly value?: unknown;
  readonly malformed?: string;
  readonly need?: number;
  readonly decodeOnly?: boolean;
}

const PARTS: readonly (readonly [title: string, vectors: readonly Vector[]])[] = [
  ["Kinds of DATAGRAMs", kinds.vectors],
  ["DATAGRAMs", datagrams.vectors],
  ["Streams and tokens", streams.vectors],
  ["Signalling and control packets", signals.vectors],
  ["IP packets inside", packets.vectors],
];

/** The document with its section of vectors written anew. */
export function withVectors(document: string): string {
  const [before, rest] = document.split(BEGIN);
  const after = rest?.split(END)[1];
  if (before === undefined || after === undefined) throw new Error("docs/WIRE.md has lost the marks of its vectors");
  const parts = PARTS.map(([title, vectors]) =>
    `\n### ${title}\n\n\`\`\`text\n${vectors.map(describe).join("\n").trimEnd()}\n\`\`\`\n`
  );
  return before + BEGIN + parts.join("") + "\n" + END + after;
}

function describe(vector: Vector): string {
  const codec = vector.codec === undefined ? "" : ` (${vector.codec})`;
  const meaning = meaningOf(vector);
  return `${vector.wire} ${vector.name}${codec}\n    ${cut(vector.hex, "")}\n` + (meaning === "" ? "" : `    ${meaning}\n`);
}

function meaningOf(vector: Vector): string {
  if (vector.frame !== undefined) return `= ${vector.frame}`;
  if (vector.malformed !== undefined) return `! ${vector.malformed}`;
  if (vector.need !== undefined) return `? ${vector.need}`;
  if (vector.value === undefined) return "";
  return `= ${cut(JSON.stringify(vector.value), '"')}${vector.decodeOnly === true ? " (not written)" : ""}`;
}

function cut(text: string, kind: "" | '"'): string {
  if (text === "") return "(no bytes)";
  if (text.length <= 2 * SHOWN_BYTES) return text;
  return text.slice(0, SHOWN_BYTES) + (kind === "" ? `... (${text.length / 2} bytes)` : "...");
}

if (import.meta.main) Deno.writeTextFileSync(DOCUMENT, withVectors(Deno.readTextFileSync(DOCUMENT)));
