/**
 * The connector's settings of direct connections of agents: off unless there is a certificate for them. Values of flags, variables
 * and the file's keys `p2p_*`, or of the object `p2p` as earlier ztna-v1 connectors have it, become one plain object or null.
 */
import * as z from "zod";
import { usageError } from "../base/mod.ts";
import { formatSource, list, type Resolved, type SettingTable, word } from "./setting.ts";
import { type BindAddress, bindAddress, duration, externalIp, numberFromText, path } from "./value.ts";

/** Where a connector listens for agents that dial it directly (UDP). */
export const DEFAULT_P2P_PORT = 4434;

export interface P2pSettings {
  readonly certPath: string;
  readonly keyPath: string;
  /** The authorities of agents' certificates; null: those of `--ca-cert`. */
  readonly caCertPath: string | null;
  /** Revocation lists; with any, every issuer of an agent's certificate must have one. */
  readonly crlPaths: readonly string[];
  /** How long a list counts beyond its next update. */
  readonly crlMaxStaleMs: number;
  /** One of a family at most. Port 0 is any free one. */
  readonly binds: readonly { readonly address: string; readonly port: number }[];
  /** The address that a NAT maps to this machine. */
  readonly externalIp: string | null;
}

const port = z.int({ error: "must be a port number" }).min(0, { error: "must be a port number" }).max(65535, {
  error: "must be a port number up to 65535",
});

/** As a file of an earlier connector has it. */
const p2pObject = z.strictObject({ cert: path.optional(), key: path.optional(), port: port.optional() }, {
  error: "must be an object with cert, key and port",
});

export const p2pSettings = {
  p2p_cert: word<string | null>("FILE", null, {
    schema: path,
    example: "/etc/postern/p2p-cert.pem",
    summary: "Let agents connect directly, and show them this certificate (PEM, with its chain)",
  }),
  p2p_key: word<string | null>("FILE", null, {
    schema: path,
    example: "/etc/postern/p2p-key.pem",
    summary: "The private key (PEM) of --p2p-cert",
  }),
  p2p_ca_cert: word<string | null>("FILE", null, {
    schema: path,
    example: "/etc/postern/agents-ca-cert.pem",
    summary: "Certificates (PEM) of the authorities that may sign those of agents, if they are not --ca-cert",
  }),
  p2p_crl: list<readonly string[]>("FILE", [], {
    schema: z.union([z.array(path), path.transform((value) => [value])]),
    example: ["/etc/postern/crl.pem"],
    summary: "Revocation lists (PEM) for direct connections; with any, every issuer of an agent's certificate must have one",
  }),
  p2p_crl_max_stale: word<number>("DURATION", 0, {
    schema: duration,
    fallbackText: "0s",
    example: "24h",
    summary: "How long a list of --p2p-crl counts beyond its next update",
  }),
  p2p_bind: list<readonly BindAddress[]>("ADDR", [], {
    schema: z.union([z.array(bindAddress), bindAddress.transform((value) => [value])]),
    fallbackText: "0.0.0.0",
    example: ["0.0.0.0", "[::]"],
    summary: "Where agents connect directly: an IPv4 address, an IPv6 address, or one of each",
  }),
  p2p_listen_port: word<number>("PORT", DEFAULT_P2P_PORT, {
    schema: port,
    fromText: numberFromText,
    summary: "The UDP port of --p2p-bind; 0 is any free one",
  }),
  external_ip: word<string | null>("IP", null, {
    schema: externalIp,
    example: "203.0.113.7",
    summary: "The address under which agents outside reach --p2p-listen-port, if it is not the one that the server sees",
  }),
  p2p: word<z.infer<typeof p2pObject> | null>("OBJECT", null, {
    schema: z.union([p2pObject, z.literal(false).transform(() => null), z.null()]),
    isFileOnly: true,
    summary: "cert, key and port in one object, as earlier connectors have it; false is off",
  }),
} satisfies SettingTable;

type P2pTable = typeof p2pSettings;

/** Null without a certificate: then nothing listens. Throws a usage error when the settings do not fit together. */
export function finishP2p(resolved: Resolved<P2pTable>, caCertPath: string | null): P2pSettings | null {
  const { values, sources } = resolved;
  const twice = (["cert", "key"] as const).find((name) => values.p2p?.[name] !== undefined && values[`p2p_${name}`] !== null) ??
    (values.p2p?.port !== undefined && sources.p2p_listen_port.kind === "file" ? "listen_port" : undefined);
  if (twice !== undefined) {
    throw usageError(`p2p_${twice} and ${formatSource(sources.p2p)} say the same twice`, "keep one of the two");
  }
  const certPath = values.p2p_cert ?? values.p2p?.cert ?? null, keyPath = values.p2p_key ?? values.p2p?.key ?? null;
  const isPortGiven = sources.p2p_listen_port.kind !== "default";
  const portOfAll = isPortGiven ? values.p2p_listen_port : values.p2p?.port ?? values.p2p_listen_port;
  if ((certPath === null) !== (keyPath === null)) {
    const missing = certPath === null ? "--p2p-cert" : "--p2p-key";
    throw usageError("P2P TLS requires both --p2p-cert and --p2p-key (got only one)", `add ${missing}, or leave both out`);
  }
  if (certPath === null || keyPath === null) {
    const given = {
      "--p2p-ca-cert": values.p2p_ca_cert !== null,
      "--p2p-bind": values.p2p_bind.length > 0,
      "--p2p-crl": values.p2p_crl.length > 0,
    };
    const stray = Object.entries(given).find(([, isGiven]) => isGiven)?.[0];
    if (stray === undefined) return null;
    throw usageError(
      `${stray} is for direct connections, and --p2p-cert is missing`,
      "add --p2p-cert and --p2p-key, or leave it out",
    );
  }
  const trust = values.p2p_ca_cert ?? caCertPath;
  if (trust === null) {
    throw usageError(
      "direct connections need to know whose certificates of agents to trust: --p2p-ca-cert is missing",
      "add --p2p-ca-cert FILE (or --ca-cert, if the same authority signs them)",
    );
  }
  const given = values.p2p_bind.length === 0 ? [{ address: "0.0.0.0", port: null }] : values.p2p_bind;
  const binds = given.map((bind) => ({ address: bind.address, port: bind.port ?? portOfAll }));
  if (new Set(binds.map(({ address }) => address.includes(":"))).size < binds.length) {
    throw usageError("--p2p-bind takes at most one IPv4 and one IPv6 address", "0.0.0.0 and [::] are all of them");
  }
  if (values.p2p_crl.length === 0 && values.p2p_crl_max_stale > 0) {
    throw usageError(
      `${formatSource(sources.p2p_crl_max_stale)} has no effect without --p2p-crl`,
      "add --p2p-crl FILE, or remove it",
    );
  }
  return {
    certPath,
    keyPath,
    caCertPath: values.p2p_ca_cert,
    crlPaths: values.p2p_crl,
    crlMaxStaleMs: values.p2p_crl_max_stale,
    binds,
    externalIp: values.external_ip,
  };
}
