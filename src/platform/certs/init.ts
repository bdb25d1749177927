/**
 * The development PKI: one authority, a certificate for the server and one for each kind of client, and a separate authority for
 * the metrics listener. Options in, files out. For trials and tests: the authority's key lies beside what it signs.
 */

import { type AlternativeName, issueAuthority, type Issued, issueLeaf, type LeafOptions } from "./issue.ts";
import { joinPath, type PemFile, writePemFiles } from "./pem_files.ts";

export interface DevelopmentPkiOptions {
  readonly directory: string;
  /** The service that the agent's and the connector's certificate are for. A valid service id. */
  readonly service: string;
  /** Further services that stand in the same two certificates. */
  readonly furtherServices?: readonly string[];
  /** Further names and addresses of the server. */
  readonly serverNames: readonly AlternativeName[];
  readonly days: number;
  /** Replace files that exist. */
  readonly force: boolean;
  /** Milliseconds since the epoch. */
  readonly nowMs: number;
}

/** One certificate of the set, with the file that holds it; its key lies beside it. */
export interface CreatedCertificate {
  readonly certPath: string;
  readonly keyPath: string;
  readonly commonName: string;
  /** `DNS:...` and `IP:...`. */
  readonly names: readonly string[];
  readonly purpose: "authority" | "server" | "client";
  readonly notAfterMs: number;
}

/** Clocks differ: what is made now is valid a little earlier. */
const BACKDATE_MS = 5 * 60_000;
const DAY_MS = 86_400_000;

/** Names under which agents of any age look for a server and for a connector. */
const SERVER_NAMES: readonly AlternativeName[] = [
  { type: "dns", value: "ztna-server" },
  { type: "dns", value: "ztna-connector" },
  { type: "dns", value: "localhost" },
  { type: "ip", value: "127.0.0.1" },
  { type: "ip", value: "::1" },
];

const METRICS_SERVER_NAMES: readonly AlternativeName[] = [
  { type: "dns", value: "localhost" },
  { type: "ip", value: "::1" },
  { type: "ip", value: "::" },
];

/** One row of the plan: file names, without the authority of its group. */
interface Planned {
  readonly cert: string;
  readonly key: string;
  readonly leaf: Pick<LeafOptions, "commonName" | "purpose" | "names">;
}

/** Makes the set and writes it. Rejects with exit code 1 when files are there already, or the directory cannot be written. */
export async function createDevelopmentPki(options: DevelopmentPkiOptions): Promise<CreatedCertificate[]> {
  const validity = {
    notBefore: new Date(options.nowMs - BACKDATE_MS),
    notAfter: new Date(options.nowMs + options.days * DAY_MS),
  };
  const created: CreatedCertificate[] = [];
  const files: PemFile[] = [];
  const add = (
    certName: string,
    keyName: string,
    issued: Issued,
    row: Pick<CreatedCertificate, "commonName" | "names" | "purpose">,
  ) => {
    files.push({ name: keyName, text: issued.privateKeyPem, isPrivate: true });
    files.push({ name: certName, text: issued.certificatePem, isPrivate: false });
    created.push({
      ...row,
      certPath: joinPath(options.directory, certName),
      keyPath: joinPath(options.directory, keyName),
      notAfterMs: validity.notAfter.getTime(),
    });
  };
  const addGroup = async (
    certName: string,
    keyName: string,
    commonName: string,
    curve: "P-256" | "P-384",
    leaves: readonly Planned[],
  ) => {
    const authority = await issueAuthority({ commonName, curve, ...validity });
    add(certName, keyName, authority, { commonName, names: [], purpose: "authority" });
    for (const { cert, key, leaf } of leaves) {
      const issued = await issueLeaf(authority, { ...leaf, curve: "P-256", ...validity });
      add(cert, key, issued, { commonName: leaf.commonName, names: leaf.names.map(formatName), purpose: leaf.purpose });
    }
  };
  await addGroup("ca-cert.pem", "ca-key.pem", "ZTNA Test CA", "P-256", tunnelLeaves(options));
  await addGroup("metrics/ca.crt", "metrics/ca.key", "postern-metrics-ca", "P-384", METRICS_LEAVES);
  await writePemFiles(options.directory, files, options.force);
  return created;
}

function tunnelLeaves({ service, furtherServices = [], serverNames }: DevelopmentPkiOptions): Planned[] {
  const names = uniqueNames([...SERVER_NAMES, ...serverNames]);
  const named = (role: string) => [service, ...furtherServices].map((id) => `${role}.${id}.ztna`);
  return [
    { ...pem("server"), leaf: { commonName: "ztna-server", purpose: "server", names } },
    { ...pem("agent"), leaf: client("test-agent", named("agent")) },
    { ...pem("connector"), leaf: client("test-connector", named("connector")) },
    { ...pem("agent-wildcard"), leaf: client("wildcard-agent", ["agent.*.ztna"]) },
    { ...pem("legacy"), leaf: client("legacy-client", []) },
  ];
}

const METRICS_LEAVES: readonly Planned[] = [
  {
    cert: "metrics/server.crt",
    key: "metrics/server.key",
    leaf: { commonName: "localhost", purpose: "server", names: METRICS_SERVER_NAMES },
  },
  { cert: "metrics/client.crt", key: "metrics/client.key", leaf: client("postern-metrics-client", []) },
];

function pem(name: string): { readonly cert: string; readonly key: string } {
  return { cert: `${name}-cert.pem`, key: `${name}-key.pem` };
}

function client(commonName: string, dnsNames: readonly string[]): Planned["leaf"] {
  return { commonName, purpose: "client", names: dnsNames.map((value) => ({ type: "dns", value })) };
}

function uniqueNames(names: readonly AlternativeName[]): AlternativeName[] {
  return [...new Map(names.map((name) => [formatName(name), name])).values()];
}

/** `DNS:localhost`, `IP:::1`. */
export function formatName(name: AlternativeName): string {
  return `${name.type === "dns" ? "DNS" : "IP"}:${name.value}`;
}
