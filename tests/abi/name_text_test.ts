/** A list's issuer is written as the native library writes a certificate's: whoever is compared by it is compared rightly. */
import { assertEquals } from "@std/assert";
import { createCertificateReader, loadNative } from "../../ffi/mod.ts";
import { readRevocationLists } from "../../src/platform/revocation/mod.ts";
import { createAuthority } from "../pki/mod.ts";

const NAMES = [
  "CN=Plain CA",
  "CN=A, O=B, C=DE",
  'CN=Comma\\, plus\\+ and \\"quotes\\", O=back\\\\slash',
  "CN=\\ edges\\ , OU=\\#hash",
  "CN=Zürich Größe, L=東京",
  "E=ca@example.com, DC=example, DC=com, ST=Somewhere, CN=x",
  "CN=one+OU=two, O=three",
  "CN=angle<>and;semicolon",
  "CN=soft\u00adhyphen",
  "2.5.4.5=12345, 2.5.4.12=Dr, 2.5.4.42=Given, 2.5.4.4=Family, 2.5.4.65=Nym",
];

const reader = createCertificateReader(loadNative().path);

Deno.test("issuers of lists are written as the library writes issuers of certificates", async () => {
  for (const subject of NAMES) {
    const authority = await createAuthority({ subject });
    const [list] = readRevocationLists(await authority.crl());
    const leaf = await authority.issue({ commonName: "leaf" });
    const summary = reader.summarize(new Uint8Array(leaf.certificate.rawData));
    assertEquals(list?.issuer, summary.issuer, subject);
  }
});
