/**
 * The PKI of a test: what `postern certs init` makes, and certificates beside it that it would never make (other names, other
 * times, other authorities), written as files because the binary takes files.
 */
import "reflect-metadata";
import { join } from "node:path";
import { X509Certificate } from "@peculiar/x509";
import { asAuthority, type Authority, type CertificateOptions, createAuthority } from "../pki/mod.ts";
import { BINARY } from "./processes_fixture.ts";

/** A certificate and its key as files. */
export interface CertificateFiles {
  readonly cert: string;
  readonly key: string;
}

export interface DevelopmentPki {
  readonly folder: string;
  /** Signs everything of this PKI. */
  readonly authority: Authority;
  readonly caCert: string;
  readonly server: CertificateFiles;
  /** May reach the service `web`. */
  readonly agent: CertificateFiles;
  /** May offer the service `web`. */
  readonly connector: CertificateFiles;
  /** May reach any service. */
  readonly wildcardAgent: CertificateFiles;
  /** Signed by the authority of this PKI, unless another is given. */
  issue(name: string, options: CertificateOptions, by?: Authority): Promise<CertificateFiles>;
  /** An authority that nobody in this PKI trusts; its certificate is written to the second path. */
  foreignAuthority(name: string): Promise<{ readonly authority: Authority; readonly caCert: string }>;
}

/** What the binary under test made for the service `web`, once for all tests of this process. */
let template: Promise<string> | null = null;

async function makeTemplate(): Promise<string> {
  const folder = Deno.makeTempDirSync({ prefix: "postern-e2e-pki-" });
  globalThis.addEventListener("unload", () => Deno.removeSync(folder, { recursive: true }));
  await init(folder, ["--service", "web"]);
  return folder;
}

async function init(folder: string, words: readonly string[]): Promise<void> {
  const { code, stderr } = await new Deno.Command(BINARY, {
    args: ["certs", "init", folder, ...words],
    stdout: "null",
    stderr: "piped",
  }).output();
  if (code !== 0) throw new Error(`postern certs init ended with ${code}: ${new TextDecoder().decode(stderr)}`);
}

/** Copies files with their modes, so that keys stay readable for their owner alone. */
function copyFolder(from: string, to: string): void {
  Deno.mkdirSync(to, { recursive: true });
  for (const { name, isFile } of Deno.readDirSync(from)) {
    if (isFile) Deno.copyFileSync(join(from, name), join(to, name));
    else copyFolder(join(from, name), join(to, name));
  }
}

/** Makes a PKI for the service `web` in `folder`, which must not exist; `words` are given to `postern certs init` in the place of its own. */
export async function makePki(folder: string, words?: readonly string[]): Promise<DevelopmentPki> {
  if (words === undefined) copyFolder(await (template ??= makeTemplate()), folder);
  else await init(folder, words);
  const files = (name: string): CertificateFiles => ({
    cert: join(folder, `${name}-cert.pem`),
    key: join(folder, `${name}-key.pem`),
  });
  const authority = await readAuthority(files("ca"));
  return {
    folder,
    authority,
    caCert: files("ca").cert,
    server: files("server"),
    agent: files("agent"),
    connector: files("connector"),
    wildcardAgent: files("agent-wildcard"),
    issue: async (name, options, by = authority) => {
      const { certificatePem, privateKeyPem } = await by.issue({ commonName: name, ...options });
      const written = files(name);
      Deno.writeFileSync(written.cert, certificatePem);
      Deno.writeFileSync(written.key, privateKeyPem, { mode: 0o600 });
      return written;
    },
    foreignAuthority: async (name) => {
      const foreign = await createAuthority({ commonName: name });
      Deno.writeFileSync(files(name).cert, foreign.certificatePem);
      return { authority: foreign, caCert: files(name).cert };
    },
  };
}

/** The authority whose key lies beside its certificate. */
async function readAuthority({ cert, key }: CertificateFiles): Promise<Authority> {
  const certificatePem = Deno.readFileSync(cert), privateKeyPem = Deno.readFileSync(key);
  const certificate = new X509Certificate(new TextDecoder().decode(certificatePem));
  const algorithm = { name: "ECDSA", namedCurve: "P-256" };
  const pem = new TextDecoder().decode(privateKeyPem).replace(/-----[A-Z ]+-----|\s/g, "");
  const der = Uint8Array.from(atob(pem), (character) => character.charCodeAt(0));
  const privateKey = await crypto.subtle.importKey("pkcs8", der, algorithm, true, ["sign"]);
  const publicKey = await certificate.publicKey.export(algorithm, ["verify"]);
  return asAuthority({ certificatePem, privateKeyPem, certificate, keys: { privateKey, publicKey } });
}
