/**
 * What can be looked at without steering anything, the same on the metrics listener and on the admin socket: `/metrics`, `/healthz`,
 * `/readyz`, `/health/tls`, `/health/certs`, `/health/security`.
 */
export { createWatch, type Watch, WATCH_PATHS, type WatchOptions } from "./watch.ts";
export {
  askStatus,
  certificateHealth,
  EXPIRY_WARNING_DAYS,
  type HealthState,
  type ReloadState,
  securityHealth,
  tlsHealth,
} from "./health.ts";
export { TrafficMeter } from "./traffic_meter.ts";
