/** Which certificate may read which path. Pure. Without a list every verified certificate may read everything; with one, deny is the rule. */
import type { MetricsAclRule } from "../../config/mod.ts";
import type { CertificateSummary } from "../../io/http/mod.ts";

/** `certificate` was verified by the listener's CA. */
export function mayRead(rules: readonly MetricsAclRule[] | null, certificate: CertificateSummary | null, path: string): boolean {
  if (certificate === null) return false;
  if (rules === null) return true;
  return rules.some((rule) => matchesCertificate(rule, certificate) && rule.paths.some((pattern) => matchesPath(pattern, path)));
}

function matchesCertificate(rule: MetricsAclRule, certificate: CertificateSummary): boolean {
  if (rule.cn !== null) return certificate.commonName === rule.cn;
  const { san } = rule;
  if (san === null) return false;
  // Host names compare without case (RFC 5280 §7.2), URIs and addresses exactly.
  return certificate.dnsNames.some((name) => name.toLowerCase() === san.toLowerCase()) || certificate.uris.includes(san) ||
    certificate.ipAddresses.includes(san);
}

function matchesPath(pattern: string, path: string): boolean {
  if (pattern === "*") return true;
  return pattern.endsWith("*") ? path.startsWith(pattern.slice(0, -1)) : path === pattern;
}
