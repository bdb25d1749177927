/** Pinned keys: what is a pin, and who is refused. */
import { assertEquals, assertMatch } from "@std/assert";
import { explainPins, parsePin } from "./pins.ts";

const PIN = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
const OTHER = "d6qzRu9zOECb90Uez27xWltNsj0e1Md7GkYYkVoZWmM=";

Deno.test("a pin is a SHA-256 in base64, with the prefix that others write or without it, in one form only", () => {
  assertEquals(parsePin(PIN), PIN);
  assertEquals(parsePin(`sha256/${PIN}`), PIN);
  const forged = [PIN.slice(0, -1), PIN.slice(1), `${PIN}=`, ` ${PIN}`, `sha1/${PIN}`, PIN.replace("+", "-"), ""];
  // The last character has bits that belong to no byte: a second way to write the same.
  for (const text of [...forged, PIN.replace("U=", "V=")]) assertEquals(parsePin(text), null, text);
});

Deno.test("who has another key than the pinned ones, or none, is refused; without pins nobody is", () => {
  assertEquals(explainPins([], { spkiSha256: OTHER }), null);
  assertEquals(explainPins([], null), null);
  assertEquals(explainPins([OTHER, PIN], { spkiSha256: PIN }), null);
  assertMatch(explainPins([PIN], { spkiSha256: OTHER }) ?? "", /^expected .*sha256\/47DE.*, it has sha256\/d6qz/);
  assertMatch(explainPins([PIN, OTHER], null) ?? "", /47DE.* or .*d6qz.*, it has none$/);
});
