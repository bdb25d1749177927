/**
 * The network side of watching: HTTPS over IPv6, TLS 1.3, client certificate always. `settings.ts` decides whether and where,
 * `credentials.ts` reads and checks the three files as one, `server.ts` binds, proves by `refusal_proof.ts` that an anonymous client is
 * refused, and serves; `acl.ts` says which certificate may read what, `connections.ts` who is connected; the files are read anew when
 * they change.
 */
export {
  describeMetricsSettings,
  type MetricsServerConfig,
  metricsServerConfig,
  metricsServerConfigWithIpv6,
  resolveMetricsServer,
} from "./settings.ts";
export { loadMetricsCredentials, type MetricsCredentials } from "./credentials.ts";
export { mayRead } from "./acl.ts";
export type { TcpConnectionStatus } from "./connections.ts";
export { type MetricsServer, type MetricsServerOptions, startMetricsServer } from "./server.ts";
