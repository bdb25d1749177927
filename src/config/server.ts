/** The server's settings: where it listens, who it is, whom it trusts and what it lets in. */

import * as z from "zod";
import { parseServiceId, usageError } from "../base/mod.ts";
import { limitList, type LimitSetting } from "./limit.ts";
import { settingError } from "./problem.ts";
import { type CommonSettings, commonSettings, finishCommon } from "./process.ts";
import { formatSource, list, onOff, type Resolved, type RoleDefinition, type SettingTable, word } from "./setting.ts";
import { DEFAULT_SERVER_PORT } from "./uplink.ts";
import { bindAddress, duration, externalIp, numberFromText, path, portNumber, refuse, text } from "./value.ts";

/** A client that may register without a certificate, while certificates are not required. */
export interface AnonymousGrant {
  readonly role: "agent" | "connector";
  readonly service: string;
}

/** A UDP socket that the server binds. Port 0 is any free one. */
export interface ListenAddress {
  readonly address: string;
  readonly port: number;
}

/** Connection IDs have room for more; nobody has tried more. */
const WORKERS_MAX = 16;
const WORKERS_FORM = { error: `must be auto or a whole number of 1 to ${WORKERS_MAX}` };

/** What a server is started with: plain data, it crosses isolates. Files are named, not loaded (see `material.ts`). */
export interface ServerSettings extends CommonSettings {
  readonly role: "server";
  /** At least one; no two alike. */
  readonly listen: readonly ListenAddress[];
  readonly certPath: string;
  readonly keyPath: string;
  /** Null only while `verifyPeer` is off. */
  readonly caCertPath: string | null;
  /** Whether client certificates are asked for and verified at all. */
  readonly verifyPeer: boolean;
  /** Whether TLS refuses a client without one. Never true while `verifyPeer` is off. */
  readonly requireClientCert: boolean;
  /** A verified certificate without a ZTNA name authorises everything, as with earlier ztna-v1 peers. */
  readonly allowLegacyCerts: boolean;
  readonly allowAnonymous: readonly AnonymousGrant[];
  /** A connector without an identity may take a service over from another one without. */
  readonly allowConnectorTakeover: boolean;
  /** The address that clients see, if it is not the one that is bound. */
  readonly externalIp: string | null;
  /** Certificate revocation lists (PEM); with any of them every issuer must have one. */
  readonly crlPaths: readonly string[];
  /** How long a list counts beyond its next update. */
  readonly crlMaxStaleMs: number;
  /** Serial numbers that are refused whatever the lists say. */
  readonly denyListPath: string | null;
  /** Public keys (PEM) of those who may issue registration tokens. With any, a client may bring a token instead of a certificate. */
  readonly tokenKeyPaths: readonly string[];
  /** Whether clients must show that they receive at their address before anything is kept of them. */
  readonly retry: boolean;
  /** Where the keys of Retry tokens and stateless resets are kept; null: they end with the process. */
  readonly retryKeyPath: string | null;
  /** Where the services that have connectors are noted. */
  /** Whether it waits after a restart for the connectors of before. */
  readonly resync: boolean;
  /** Null: beside the admin socket. */
  readonly resyncPath: string | null;
  readonly resyncGraceMs: number;
  /** Data planes, each on a core of its own. */
  /** Null: as many as this machine is good for. */
  readonly workers: number | null;
  /** In the order given: the last of a name counts. */
  readonly limits: readonly LimitSetting[];
}

/** `agent:ID` or `connector:ID`; the id's grammar is checked when `allow_legacy_service_ids` is known. */
const anonymousGrant = text.transform((value, context): AnonymousGrant => {
  const match = /^(agent|connector):(.+)$/s.exec(value);
  if (match === null) return refuse(context, "must be agent:SERVICE or connector:SERVICE");
  return { role: match[1] === "agent" ? "agent" : "connector", service: match[2] ?? "" };
});

const serverTable = {
  port: word("PORT", DEFAULT_SERVER_PORT, {
    isTypical: true,
    schema: portNumber("must not be port 0; for any free port say --bind ADDRESS:0"),
    fromText: numberFromText,
    summary: "The UDP port to listen on",
  }),
  cert: word("FILE", "certs/cert.pem", {
    isTypical: true,
    schema: path,
    summary: "The server's certificate (PEM, with its chain)",
    aliases: ["cert_path"],
  }),
  key: word("FILE", "certs/key.pem", {
    isTypical: true,
    schema: path,
    summary: "The private key (PEM) of --cert",
    aliases: ["key_path"],
  }),
  bind: list("ADDRESS[:PORT]", [{ address: "0.0.0.0", port: null }], {
    schema: z.union([z.array(bindAddress).min(1, { error: "must name an address" }), bindAddress.transform((value) => [value])]),
    fallbackText: "0.0.0.0",
    example: ["0.0.0.0", "[::]"],
    summary: "A local IP address to listen on; [::] means IPv6 only; port 0 is any free one",
    aliases: ["bind_addr"],
  }),
  external_ip: word<string | null>("ADDRESS", null, {
    schema: externalIp,
    example: "203.0.113.5",
    summary: "No effect, kept for older files: the address of this server as clients see it",
    noEffect: "the server needs no address but those that it binds",
  }),
  ca_cert: word<string | null>("FILE", null, {
    isTypical: true,
    schema: path,
    example: "certs/ca-cert.pem",
    summary: "Certificates (PEM) of the authorities that may sign client certificates; nothing else is trusted",
    aliases: ["ca_cert_path"],
  }),
  verify_peer: onOff(true, {
    summary: "Ask clients for certificates and verify those that they show",
    offSummary: "Neither ask clients for certificates nor verify them; needs --no-require-client-cert",
  }),
  require_client_cert: onOff(true, {
    summary: "Refuse clients without a certificate",
    offSummary: "Take clients without a certificate; they may register only what --allow-anonymous names. For migration",
  }),
  allow_anonymous: list<readonly AnonymousGrant[]>("ROLE:SERVICE", [], {
    schema: z.array(anonymousGrant, { error: "must be a list of agent:SERVICE or connector:SERVICE" }),
    example: ["agent:web"],
    summary: "What a client without a certificate may register, with --no-require-client-cert",
  }),
  allow_legacy_certs: onOff(false, {
    summary: "Let a certificate without a ZTNA name do everything, as earlier ztna-v1 servers did",
  }),
  allow_connector_takeover: onOff(false, {
    summary: "Let a connector without a certificate take a service over from another one without",
  }),
  crl: list<readonly string[]>("FILE", [], {
    schema: z.union([z.array(path), path.transform((value) => [value])]),
    example: ["/etc/postern/crl.pem"],
    summary: "Certificate revocation lists (PEM); with any, every issuer of a client's certificate must have one",
  }),
  crl_max_stale: word<number>("DURATION", 0, {
    schema: duration,
    fallbackText: "0s",
    example: "24h",
    summary: "How long a revocation list counts beyond its next update",
  }),
  deny_list: word<string | null>("FILE", null, {
    schema: path,
    example: "/etc/postern/denied-serials.txt",
    summary: "Serial numbers of certificates that are refused: one a line in hexadecimal, optionally with the issuer's name",
  }),
  token_public_key: list<readonly string[]>("FILE", [], {
    schema: z.union([z.array(path), path.transform((value) => [value])]),
    example: ["/etc/postern/token-issuer-pub.pem"],
    summary: "Ed25519 public keys (PEM) of issuers whose registration tokens let a client in without a certificate",
  }),
  disable_retry: onOff(false, {
    summary: "Take clients in without Retry, one round trip sooner and without proof of their address",
  }),
  retry_key_file: word<string | null>("FILE", null, {
    schema: path,
    example: "/var/lib/postern/retry-keys",
    summary: "Where the keys of Retry tokens and stateless resets are kept, made with mode 0600 if it is not there",
  }),
  resync: onOff(true, {
    summary: "After a restart be ready when the connectors of before are back",
    offSummary: "Be ready as soon as the server runs, whoever served before a restart",
  }),
  resync_file: word<string | null>("FILE", null, {
    schema: path,
    example: "/var/lib/postern/served-services",
    summary: "Where it is noted which services have connectors; by default beside the admin socket",
  }),
  resync_grace: word<number>("DURATION", 10_000, {
    schema: duration,
    fallbackText: "10s",
    example: "10s",
    summary: "How long after a restart it waits for them before it is ready without them",
  }),
  workers: word<number | "auto">("NUMBER", 1, {
    schema: z.union(
      [z.literal("auto", WORKERS_FORM), z.int(WORKERS_FORM).min(1, WORKERS_FORM).max(WORKERS_MAX, WORKERS_FORM)],
      WORKERS_FORM,
    ),
    fromText: (text) => text === "auto" ? text : numberFromText(text),
    example: 2,
    summary: "Data planes that share the work, each with a thread of its own; auto: one for each core, at most 4",
  }),
  limit: list<readonly LimitSetting[]>("NAME=VALUE", [], {
    schema: limitList,
    example: ["datagrams-per-connection=50000/10000", "connections-per-source=100"],
    summary: "A limit: a number, PER_SECOND, PER_SECOND/BURST, or off; the manual has the names",
    aliases: ["limits"],
  }),
  ...commonSettings("server"),
} satisfies SettingTable;

export type ServerTable = typeof serverTable;

/** The server's table of settings. */
export const SERVER: RoleDefinition<ServerTable, ServerSettings> = {
  role: "server",
  settings: serverTable,
  positional: ["port", "cert", "key", "bind", "external_ip"],
  defaultFiles: ["/etc/postern/server.yaml", "/etc/postern/server.json", "/etc/ztna/intermediate.json", "./intermediate.json"],
  planned: [],
  finish: finishServer,
};

function finishServer(resolved: Resolved<ServerTable>): ServerSettings {
  const { values, sources } = resolved;
  if (!values.verify_peer && values.require_client_cert) {
    throw usageError(
      `${formatSource(sources.verify_peer)} turns off the verification of client certificates while they are required`,
      "add --no-require-client-cert if clients shall be taken without a verified certificate",
    );
  }
  if (values.require_client_cert && values.allow_anonymous.length > 0) {
    throw usageError(
      `${formatSource(sources.allow_anonymous)} has no effect while client certificates are required`,
      "add --no-require-client-cert, or remove it",
    );
  }
  if (!values.verify_peer && values.crl.length > 0) {
    throw usageError(
      `${formatSource(sources.crl)} has no effect while client certificates are not verified`,
      "remove it, or verify clients",
    );
  }
  if (values.crl.length === 0 && values.crl_max_stale > 0) {
    throw usageError(`${formatSource(sources.crl_max_stale)} has no effect without --crl`, "add --crl FILE, or remove it");
  }
  for (const grant of values.allow_anonymous) {
    const id = parseServiceId(grant.service, { legacy: values.allow_legacy_service_ids });
    if (!id.ok) throw settingError(sources.allow_anonymous, `${grant.role}:${grant.service}`, `the service id ${id.why}`);
  }
  return {
    role: "server",
    ...finishCommon(values),
    listen: finishListen(resolved),
    certPath: values.cert,
    keyPath: values.key,
    caCertPath: values.ca_cert,
    verifyPeer: values.verify_peer,
    requireClientCert: values.require_client_cert,
    allowLegacyCerts: values.allow_legacy_certs,
    allowAnonymous: values.allow_anonymous,
    allowConnectorTakeover: values.allow_connector_takeover,
    externalIp: values.external_ip,
    crlPaths: values.crl,
    crlMaxStaleMs: values.crl_max_stale,
    denyListPath: values.deny_list,
    tokenKeyPaths: values.token_public_key,
    retry: !values.disable_retry,
    retryKeyPath: values.retry_key_file,
    resync: values.resync,
    resyncPath: values.resync_file,
    resyncGraceMs: values.resync_grace,
    workers: values.workers === "auto" ? null : values.workers,
    limits: values.limit,
  };
}

function finishListen({ values, sources }: Resolved<ServerTable>): ListenAddress[] {
  const listen = values.bind.map(({ address, port }) => ({ address, port: port ?? values.port }));
  const seen = new Set<string>();
  for (const { address, port } of listen) {
    const key = `${address} ${port}`;
    if (port !== 0 && seen.has(key)) throw settingError(sources.bind, address, "is named twice with the same port");
    seen.add(key);
  }
  return listen;
}
