/**
 * Reading certificates outside a connection with the parser that verifies them: PEM text → DER certificates → summaries.
 */
import type { CertificateSummary } from "../../src/core/quic/engine.ts";
import { PosternError } from "../../src/base/mod.ts";
import { splitList, takeBytes, takeText } from "../text.ts";
import { decodeCertificateSummary } from "./summary.ts";
import { CERT_SYMBOLS } from "./symbols.ts";

export interface CertificateReader {
  /** Throws {@linkcode PosternError} `certificate` with the library's words when it is none, or has names that deceive. */
  summarize(der: Uint8Array<ArrayBuffer>): CertificateSummary;
  /** Every certificate of a PEM text in its order, DER; other blocks are skipped. Throws when there is none. */
  certificatesOf(pem: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer>[];
}

/** A reader over the library at `path`, see `loadNative`. */
export function createCertificateReader(path: string): CertificateReader {
  const library = Deno.dlopen(path, CERT_SYMBOLS).symbols;
  const failure = () => {
    const words = takeText((out, capacity) => library.postern_last_error(out, capacity));
    return new PosternError(words, { code: "certificate", exitCode: 2 });
  };
  return {
    summarize(der) {
      const bytes = takeBytes((out, capacity) => library.postern_cert_summary(der, BigInt(der.length), out, capacity));
      if (bytes === null) throw failure();
      const summary = decodeCertificateSummary(bytes);
      if (summary === null) throw new PosternError("the native library gave a broken summary", { code: "native-answer" });
      return summary;
    },
    certificatesOf(pem) {
      const bytes = takeBytes((out, capacity) => library.postern_pem_certificates(pem, BigInt(pem.length), out, capacity));
      if (bytes === null) throw failure();
      return splitList(bytes);
    },
  };
}
