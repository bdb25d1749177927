/** Certificates as the native library reads them: DER or PEM in, {@linkcode CertificateSummary} out. */
export * from "./reader.ts";
export * from "./summary.ts";
