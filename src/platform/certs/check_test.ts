/** What `certs check` and `certs inspect` find in good and bad material, including what a forger would try. */

import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { PosternError } from "../../base/mod.ts";
import { checkCertificate, type Finding } from "./check.ts";
import { formatReport, inspectCertificates } from "./inspect.ts";
import { keyDigest } from "./key_fixture.ts";
import { issueAuthority, type Issued, issueLeaf } from "./issue.ts";

const DAY_MS = 86_400_000;
const NOW_MS = Date.UTC(2026, 10, 22);
const validity = { notBefore: new Date(NOW_MS - DAY_MS), notAfter: new Date(NOW_MS + 10 * DAY_MS), curve: "P-256" } as const;

const authority = await issueAuthority({ commonName: "Root", ...validity });
const leaf = await issueLeaf(authority, {
  commonName: "leaf",
  purpose: "client",
  names: [{ type: "dns", value: "Agent.Web.ztna" }],
  ...validity,
});

function pem(path: string, text: string) {
  return { path, bytes: new TextEncoder().encode(text) };
}

async function check(cert: string, key: string, ca: string | null, nowMs = NOW_MS): Promise<Record<string, boolean>> {
  const findings: Finding[] = await checkCertificate({
    cert: pem("c.pem", cert),
    key: pem("k.pem", key),
    ...(ca === null ? {} : { ca: pem("ca.pem", ca) }),
    nowMs,
    keyDigest,
  });
  return Object.fromEntries(findings.map(({ check, isOk }) => [check, isOk]));
}

Deno.test("certs check: what fits is found to fit", async () => {
  assertEquals(await check(leaf.certificatePem, leaf.privateKeyPem, authority.certificatePem), {
    pair: true,
    validity: true,
    chain: true,
  });
  assertEquals(await check(leaf.certificatePem, leaf.privateKeyPem, null), { pair: true, validity: true });
});

Deno.test("certs check: another key", async () => {
  const found = await check(leaf.certificatePem, authority.privateKeyPem, authority.certificatePem);
  assertEquals(found, { pair: false, validity: true, chain: true });
});

Deno.test("certs check: expired and not yet valid, of the leaf and of the authority", async () => {
  const later = await check(leaf.certificatePem, leaf.privateKeyPem, authority.certificatePem, NOW_MS + 11 * DAY_MS);
  assertEquals(later, { pair: true, validity: false, "authority-validity": false, chain: false });
  const earlier = await check(leaf.certificatePem, leaf.privateKeyPem, authority.certificatePem, NOW_MS - 2 * DAY_MS);
  assertEquals(earlier, { pair: true, validity: false, "authority-validity": false, chain: false });
});

Deno.test("certs check: an authority of the same name with another key", async () => {
  const impostor = await issueAuthority({ commonName: "Root", ...validity });
  assertEquals((await check(leaf.certificatePem, leaf.privateKeyPem, impostor.certificatePem))["chain"], false);
  const forged = await issueLeaf(impostor, { commonName: "leaf", purpose: "client", names: [], ...validity });
  assertEquals((await check(forged.certificatePem, forged.privateKeyPem, authority.certificatePem))["chain"], false);
});

Deno.test("certs check: a leaf that signs is no authority", async () => {
  const forger: Issued = leaf;
  const forged = await issueLeaf(forger, { commonName: "forged", purpose: "client", names: [], ...validity });
  const found = await check(forged.certificatePem + leaf.certificatePem, forged.privateKeyPem, authority.certificatePem);
  assertEquals(found["chain"], false);
});

Deno.test("certs inspect: names in the order of the file, ZTNA names without regard to case, days left", async () => {
  const [first, second] = await inspectCertificates(
    "b.pem",
    pem("b.pem", leaf.certificatePem + authority.certificatePem).bytes,
    NOW_MS,
  );
  assert(first !== undefined && second !== undefined);
  assertEquals([first.subject, first.names, first.authorises], ["CN=leaf", ["DNS:Agent.Web.ztna"], ["agent:web"]]);
  assertEquals([first.daysLeft, first.isAuthority, second.isAuthority], [10, false, true]);
  assertMatch(formatReport(first), /^Subject: {4}CN=leaf\n[^]*10 days left/);
  const [expired] = await inspectCertificates("b.pem", pem("b.pem", leaf.certificatePem).bytes, NOW_MS + 12 * DAY_MS);
  assertMatch(formatReport(expired ?? first), /EXPIRED 2 days ago/);
});

Deno.test("certs inspect: no certificate, a key instead, damaged DER: exit 1 and the path", async () => {
  for (const text of ["", "junk", leaf.privateKeyPem, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]) {
    const error = await assertRejects(() => inspectCertificates("x.pem", pem("x.pem", text).bytes, NOW_MS), PosternError, "x.pem");
    assertEquals(error.exitCode, 1);
  }
});
