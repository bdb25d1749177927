/** What seeing and steering needs from outside TypeScript. `main.ts` fills it in with `ffi`. */
import type { CertificateSummary, Poller, ProcessNative, TlsContext, TlsContextOptions } from "../io/http/mod.ts";

export interface OpsNative {
  readonly process: ProcessNative;
  /** Made at first use: a role without listeners needs none. */
  readonly createPoller: () => Poller;
  readonly createTlsContext: (options: TlsContextOptions) => TlsContext;
  /** The certificates of a PEM text, read by the library that verifies peers; leaf first. Throws when one is damaged. */
  readonly readCertificates: (pem: Uint8Array) => readonly CertificateSummary[];
}
