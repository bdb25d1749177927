import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { createCertificateReader } from "../../ffi/certs/mod.ts";
import { loadNative } from "../../ffi/load.ts";
import { PosternError } from "../../src/base/mod.ts";
import { type CertificateOptions, createAuthority, createSelfSigned, Extension, joinPem } from "../pki/mod.ts";

const reader = createCertificateReader(loadNative().path);
const authority = await createAuthority({ subject: "CN=Root, O=Ünïted, C=DE" });

async function derOf(options: CertificateOptions): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array((await authority.issue(options)).certificate.rawData);
}

/** A SubjectAlternativeName extension with these entries: context tag and bytes of each. */
function names(...entries: readonly (readonly [number, Uint8Array])[]): Extension {
  const body = entries.flatMap(([tag, bytes]) => [0x80 | tag, bytes.length, ...bytes]);
  return new Extension("2.5.29.17", false, new Uint8Array([0x30, body.length, ...body]));
}

const ascii = (text: string) => new TextEncoder().encode(text);
const EMAIL = 1, DNS = 2, URI = 6, IP = 7;

Deno.test("a certificate's summary has its names, times and digests", async () => {
  const notBefore = new Date("2024-02-29T12:00:00Z"), notAfter = new Date("2061-01-01T00:00:00Z");
  const issued = await authority.issue({
    commonName: "agent-7",
    dns: ["a.test", "*.b.test"],
    uri: ["spiffe://test/agent/7"],
    ip: ["192.0.2.1", "2001:db8::1"],
    serial: "00ff10",
    notBefore,
    notAfter,
  });
  const der = new Uint8Array(issued.certificate.rawData);
  const spki = new Uint8Array(issued.certificate.publicKey.rawData);
  assertEquals(reader.summarize(der), {
    commonName: "agent-7",
    subject: "CN=agent-7",
    issuer: "C=DE,O=Ünïted,CN=Root",
    serial: "ff10",
    dnsNames: ["a.test", "*.b.test"],
    uris: ["spiffe://test/agent/7"],
    ipAddresses: ["192.0.2.1", "2001:db8::1"],
    notBeforeMs: notBefore.getTime(),
    notAfterMs: notAfter.getTime(),
    fingerprint: createHash("sha256").update(der).digest("hex"),
    spkiSha256: createHash("sha256").update(spki).digest("base64"),
    isSelfSigned: false,
  });
});

Deno.test("of several common names the last counts; none is null", async () => {
  assertEquals(reader.summarize(await derOf({ subject: "CN=first, O=x, CN=last" })).commonName, "last");
  const without = reader.summarize(await derOf({}));
  assertEquals([without.commonName, without.dnsNames], [null, []]);
});

Deno.test("self-signed means signed by its own key, not merely issued under its own name", async () => {
  const own = await createSelfSigned({ commonName: "me" });
  assertEquals(reader.summarize(new Uint8Array(own.certificate.rawData)).isSelfSigned, true);
  const namesake = await (await createAuthority({ commonName: "me" })).issue({ commonName: "me" });
  assertEquals(reader.summarize(new Uint8Array(namesake.certificate.rawData)).isSelfSigned, false);
});

Deno.test("names that deceive refuse the certificate: NUL, control, invisible and turning characters, letters outside ASCII", async () => {
  const deceiving: CertificateOptions[] = [
    { commonName: "agent\0.evil" },
    { commonName: "agent\nroot" },
    { commonName: "agent\u202etxt" },
    { commonName: "ag\u200bent" },
    { extensions: [names([DNS, ascii("a.test\0.evil.test")])] },
    { extensions: [names([DNS, ascii("a.test\n")])] },
    { extensions: [names([DNS, ascii("a b.test")])] },
    { extensions: [names([DNS, new Uint8Array([0x61, 0xff])])] },
    { extensions: [names([DNS, ascii("ä.test")])] },
    { extensions: [names([DNS, new Uint8Array(0)])] },
    { extensions: [names([DNS, ascii("fine.test")], [URI, ascii("spiffe://a\0b")])] },
    { extensions: [names([IP, new Uint8Array(5)])] },
    { extensions: [names([IP, new Uint8Array(0)])] },
  ];
  for (const options of deceiving) {
    const der = await derOf(options);
    const error = assertThrows(() => reader.summarize(der), PosternError);
    assertEquals([error.code, error.exitCode], ["certificate", 2]);
    assertMatch(error.message, /the certificate|the common name/);
  }
});

Deno.test("names of kinds that decide nothing are passed over", async () => {
  const der = await derOf({ extensions: [names([EMAIL, ascii("a@b.test")], [DNS, ascii("a.test")])] });
  assertEquals(reader.summarize(der).dnsNames, ["a.test"]);
});

Deno.test("two lists of alternative names, or a broken one, refuse the certificate", async () => {
  const twice = await derOf({ extensions: [names([DNS, ascii("a.test")]), names([DNS, ascii("b.test")])] });
  assertThrows(() => reader.summarize(twice), PosternError);
  const broken = await derOf({ extensions: [new Extension("2.5.29.17", false, new Uint8Array([0x30, 9, 1]))] });
  assertThrows(() => reader.summarize(broken), PosternError);
});

Deno.test("what is no certificate is refused: nothing, noise, every cut, bytes behind it", async () => {
  const der = await derOf({ commonName: "x", dns: ["x.test"] });
  assertThrows(() => reader.summarize(new Uint8Array(0)), PosternError, "not a certificate");
  assertThrows(() => reader.summarize(new Uint8Array(200)), PosternError, "not a certificate");
  for (let length = 1; length < der.length; length += 7) assertThrows(() => reader.summarize(der.slice(0, length)), PosternError);
  assertThrows(() => reader.summarize(new Uint8Array([...der, 0])), PosternError, "not a certificate");
  assertThrows(() => reader.summarize(new Uint8Array(70_000)), PosternError, "too long");
});

Deno.test("no flipped bit ends the process, and whatever is accepted still has sound names", async () => {
  const der = await derOf({ commonName: "agent", dns: ["a.test"], uri: ["spiffe://t/a"], ip: ["::1"] });
  for (let at = 0; at < der.length; at++) {
    for (const bit of [0x01, 0x20, 0x80]) {
      const flipped = der.slice();
      flipped[at] = (flipped[at] ?? 0) ^ bit;
      try {
        const summary = reader.summarize(flipped);
        for (const name of [...summary.dnsNames, ...summary.uris]) assertMatch(name, /^[\x21-\x7e]+$/);
      } catch (error) {
        if (!(error instanceof PosternError)) throw error;
      }
    }
  }
});

Deno.test("a PEM text is split into its certificates; other blocks are skipped, broken ones are an error", async () => {
  const [first, second] = [await authority.issue({ commonName: "1" }), await authority.issue({ commonName: "2" })];
  const found = reader.certificatesOf(joinPem(first.certificatePem, first.privateKeyPem, second.certificatePem));
  assertEquals(found.map((der) => reader.summarize(der).commonName), ["1", "2"]);
  assertThrows(() => reader.certificatesOf(first.privateKeyPem), PosternError, "no CERTIFICATE block");
  const broken = joinPem(
    first.certificatePem,
    ascii(`-----BEGIN CERTIFICATE-----\n${Buffer.from("noise").toString("base64")}\n-----END CERTIFICATE-----\n`),
  );
  assertThrows(() => reader.certificatesOf(broken), PosternError, "certificate: ");
});
