/** Reads which symbols a 64-bit little-endian ELF library exports (System V ABI, chapters 4 and 5). */

const SHT_DYNSYM = 11;
const SHN_UNDEF = 0;
const SYMBOL_BYTES = 24;

/** Names of the symbols that the library defines for others, sorted. */
export function exportedSymbols(file: Uint8Array<ArrayBuffer>): string[] {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  if (view.getUint32(0) !== 0x7f454c46 || file[4] !== 2 || file[5] !== 1) throw new Error("not a 64-bit little-endian ELF file");
  const sections = readSections(view);
  const symbols = sections.find((section) => section.type === SHT_DYNSYM);
  const strings = symbols === undefined ? undefined : sections[symbols.link];
  if (symbols === undefined || strings === undefined) throw new Error("the file has no dynamic symbols");
  const names: string[] = [];
  for (let at = symbols.offset; at < symbols.offset + symbols.size; at += SYMBOL_BYTES) {
    if (view.getUint16(at + 6, true) === SHN_UNDEF) continue;
    const name = textAt(file, strings.offset + view.getUint32(at, true));
    // A section's own symbol has none.
    if (name !== "") names.push(name);
  }
  return names.sort();
}

interface Section {
  readonly type: number;
  readonly offset: number;
  readonly size: number;
  readonly link: number;
}

function readSections(view: DataView): Section[] {
  const table = Number(view.getBigUint64(0x28, true));
  const bytes = view.getUint16(0x3a, true);
  const count = view.getUint16(0x3c, true);
  return Array.from({ length: count }, (_, index) => {
    const at = table + index * bytes;
    return {
      type: view.getUint32(at + 4, true),
      offset: Number(view.getBigUint64(at + 24, true)),
      size: Number(view.getBigUint64(at + 32, true)),
      link: view.getUint32(at + 40, true),
    };
  });
}

function textAt(file: Uint8Array, start: number): string {
  return new TextDecoder().decode(file.subarray(start, file.indexOf(0, start)));
}
