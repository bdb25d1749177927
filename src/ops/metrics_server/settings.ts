/**
 * Whether the metrics listener runs, where, and with which files. There is no way to have it without mutual TLS: the type has no field
 * for that, and everything half-said is an error.
 */
import { formatSocketAddress, type RoleName } from "../../base/mod.ts";
import { type OpsSettings, parseMetricsAddress, requireOneMetricsAddress } from "../../config/mod.ts";
import type { Ipv6Address } from "../../io/http/mod.ts";

/** All of it is required. */
export interface MetricsServerConfig {
  readonly listen: Ipv6Address;
  readonly certPath: string;
  readonly keyPath: string;
  readonly caPath: string;
}

const LOOPBACK = "::1";
const DEFAULT_PORTS: Readonly<Record<RoleName, number>> = { server: 9090, connector: 9091, agent: 9092 };
export const DEFAULT_METRICS_FILES = {
  certPath: "/etc/postern/metrics/server.crt",
  keyPath: "/etc/postern/metrics/server.key",
  caPath: "/etc/postern/metrics/ca.crt",
} as const;

/** Listens on `[::1]:9090`, which only this machine reaches. */
export function metricsServerConfig(certPath: string, keyPath: string, caPath: string): MetricsServerConfig {
  return { listen: { address: LOOPBACK, port: DEFAULT_PORTS.server }, certPath, keyPath, caPath };
}

/** Listens on `address`, such as `[::]:9090`: all IPv6 addresses of this machine, and no IPv4 one. Throws a usage error. */
export function metricsServerConfigWithIpv6(
  address: string,
  certPath: string,
  keyPath: string,
  caPath: string,
): MetricsServerConfig {
  return { listen: parseMetricsAddress(address), certPath, keyPath, caPath };
}

export type MetricsResolution =
  | { readonly kind: "on"; readonly config: MetricsServerConfig }
  /** `isUnconfigured`: nobody said anything and there are no files; worth a warning. */
  | { readonly kind: "off"; readonly isUnconfigured: boolean };

/** `exists` looks for a file. Throws a usage error for settings that contradict each other. */
export function resolveMetricsServer(settings: OpsSettings, role: RoleName, exists: (path: string) => boolean): MetricsResolution {
  const { metricsAddr, metricsPort } = settings;
  requireOneMetricsAddress(metricsAddr, metricsPort);
  if (metricsPort === 0) return { kind: "off", isUnconfigured: false };
  const isUnconfigured = metricsAddr === null && metricsPort === null && settings.metricsCertPath === null &&
    settings.metricsKeyPath === null && settings.metricsCaPath === null && settings.metricsAcl === null &&
    !Object.values(DEFAULT_METRICS_FILES).some(exists);
  if (isUnconfigured) return { kind: "off", isUnconfigured: true };
  const listen = metricsAddr === null
    ? { address: LOOPBACK, port: metricsPort ?? DEFAULT_PORTS[role] }
    : parseMetricsAddress(metricsAddr);
  return {
    kind: "on",
    config: {
      listen,
      certPath: settings.metricsCertPath ?? DEFAULT_METRICS_FILES.certPath,
      keyPath: settings.metricsKeyPath ?? DEFAULT_METRICS_FILES.keyPath,
      caPath: settings.metricsCaPath ?? DEFAULT_METRICS_FILES.caPath,
    },
  };
}

/** What is said when the listener stands, a line each. `config.listen` has the port that was bound. */
export function describeMetricsSettings(config: MetricsServerConfig): string[] {
  const { address, port } = config.listen;
  return [
    "Metrics server configured with mandatory mTLS",
    `Listening on IPv6 ${formatSocketAddress({ ip: address, port })} (client certificate required)`,
    "Using certificates:",
    `  Server cert: ${config.certPath}`,
    `  Server key:  ${config.keyPath}`,
    `  CA cert:     ${config.caPath} (for client verification)`,
  ];
}
