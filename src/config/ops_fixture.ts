/** The settings of an operator who gave none. */
import type { OpsSettings } from "./mod.ts";

export const NO_OPS: OpsSettings = {
  metricsAddr: null,
  metricsPort: null,
  metricsCertPath: null,
  metricsKeyPath: null,
  metricsCaPath: null,
  metricsAcl: null,
  metricsAlias: null,
  hasAdminSocket: true,
  adminSocketPath: null,
  adminUids: [],
  adminGids: [],
  alertWebhook: null,
  eventsMax: 10_000,
  eventsKeepMs: 2_592_000_000,
  logFilePath: null,
};
