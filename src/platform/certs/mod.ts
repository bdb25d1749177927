/**
 * Certificates as files: making a development set (`init.ts` plans it, `issue.ts` signs, `pem_files.ts` writes), looking into
 * them (`inspect.ts`), judging them (`check.ts`, `chain.ts`). Reach this folder by dynamic import: its libraries are heavy and
 * no role needs them to run.
 */

export { checkCertificate, type CheckOptions, type Finding, type LoadedPem } from "./check.ts";
export { type CreatedCertificate, createDevelopmentPki, type DevelopmentPkiOptions } from "./init.ts";
export { type CertificateReport, formatReport, inspectCertificates } from "./inspect.ts";
export type { AlternativeName } from "./issue.ts";
