/**
 * Text from outside on its way to people and shells. What a peer chose (service ids, names, close reasons) passes through
 * {@linkcode sanitizeForLog} before it stands in a log line or a terminal, and through {@linkcode quoteForShell} before it
 * stands in text that somebody will feed to a shell. Not a validator: `validate.ts` refuses, this file only makes harmless.
 */

/** The length at which {@linkcode sanitizeForLog} cuts when it is not told another. In UTF-16 units of the result. */
export const LOG_TEXT_MAX = 256;

/** Neither shown nor harmless: controls, formats (also bidirectional ones), surrogates, private use, unassigned, separators. */
const NOT_PRINTABLE = /^[\p{C}\p{Z}]$/u;

/**
 * `text` with everything escaped that could end a line, move a cursor, turn the writing direction or close a quotation:
 * controls and other characters that do not print become `\uXXXX` (two of them beyond U+FFFF), `\` becomes `\\`, `"` becomes
 * `\"`. The result is at most `maxLength` UTF-16 units long; a character or an escape that does not fit is left out whole.
 */
export function sanitizeForLog(text: string, maxLength: number = LOG_TEXT_MAX): string {
  let clean = "";
  for (const character of text) {
    const piece = escapeCharacter(character);
    if (clean.length + piece.length > maxLength) break;
    clean += piece;
  }
  return clean;
}

function escapeCharacter(character: string): string {
  if (character === "\\" || character === '"') return "\\" + character;
  if (character >= " " && character <= "~") return character;
  if (!NOT_PRINTABLE.test(character)) return character;
  let escaped = "";
  for (let i = 0; i < character.length; i++) escaped += "\\u" + character.charCodeAt(i).toString(16).padStart(4, "0");
  return escaped;
}

/** `text` as one word of a POSIX shell: always in single quotes, a single quote inside as `'\''`. */
export function quoteForShell(text: string): string {
  return "'" + text.replaceAll("'", "'\\''") + "'";
}
