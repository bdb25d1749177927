/**
 * The three files of the metrics listener, read and checked as one: either all of it is good and a TLS context comes out, or nothing is
 * bound or changed and the error names the file and what it is for.
 */
import { messageOf, PosternError } from "../../base/mod.ts";
import type { CertificateSummary, TlsContext } from "../../io/http/mod.ts";
import type { OpsNative } from "../native.ts";
import type { MetricsServerConfig } from "./settings.ts";

export interface MetricsCredentials {
  readonly context: TlsContext;
  readonly server: CertificateSummary;
  readonly authorities: readonly CertificateSummary[];
  /** The listener's own chain, for the self-test. */
  readonly certificatePem: Uint8Array<ArrayBuffer>;
}

const FILE_BYTES_MAX = 1 << 20;

/** Throws a PosternError (exit code 1) for the first thing that is wrong, in the order certificate, key, CA, all together. */
export async function loadMetricsCredentials(config: MetricsServerConfig, native: OpsNative): Promise<MetricsCredentials> {
  const certificatePem = await read("Metrics server certificate", config.certPath);
  const keyPem = await read("Metrics server private key", config.keyPath);
  const trustPem = await read(
    "Metrics CA certificate",
    config.caPath,
    "it verifies the clients: mutual TLS is mandatory, the metrics endpoint never runs without it",
  );
  const server = certificates(native, certificatePem, "Metrics server certificate", config.certPath)[0];
  const authorities = certificates(native, trustPem, "Metrics CA certificate", config.caPath);
  if (server === undefined) throw damaged(`No certificate in ${config.certPath} (metrics server certificate)`);
  if (authorities.length === 0) throw damaged(`No certificate in ${config.caPath} (metrics CA)`);
  let context: TlsContext;
  try {
    context = native.createTlsContext({
      side: "server",
      identity: { certificateChainPem: certificatePem, privateKeyPem: keyPem },
      verify: { kind: "require", trustPem, crlPem: null },
      toleratesStaleCrl: false,
      protocols: ["http/1.1"],
    });
  } catch (cause) {
    keyPem.fill(0);
    throw damaged(
      `Metrics certificate ${config.certPath}, key ${config.keyPath} and CA ${config.caPath}: ${messageOf(cause)}`,
      cause,
    );
  }
  keyPem.fill(0);
  return { context, server, authorities, certificatePem };
}

async function read(what: string, path: string, why?: string): Promise<Uint8Array<ArrayBuffer>> {
  let bytes: Uint8Array<ArrayBuffer>;
  try {
    bytes = await Deno.readFile(path);
  } catch (cause) {
    const isMissing = cause instanceof Deno.errors.NotFound;
    throw new PosternError(
      `${what} ${isMissing ? "not found" : "cannot be read"}: ${path}${why === undefined ? "" : ` (${why})`}`,
      {
        code: isMissing ? "file-missing" : "file-unreadable",
        hint:
          "give --metrics-cert, --metrics-key and --metrics-ca; `postern certs init` makes a set for trying out; --metrics-port 0 does without",
        cause,
      },
    );
  }
  if (bytes.length > FILE_BYTES_MAX) throw damaged(`${what} is longer than ${FILE_BYTES_MAX} bytes: ${path}`);
  return bytes;
}

function certificates(native: OpsNative, pem: Uint8Array, what: string, path: string): readonly CertificateSummary[] {
  try {
    return native.readCertificates(pem);
  } catch (cause) {
    throw damaged(`${what} cannot be parsed: ${path}: ${messageOf(cause)}`, cause);
  }
}

function damaged(message: string, cause?: unknown): PosternError {
  return new PosternError(message, {
    code: "metrics-material",
    hint: "`postern certs check` shows which certificate, key and authority fit together",
    ...(cause === undefined ? {} : { cause }),
  });
}
