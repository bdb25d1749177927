/**
 * Metrics: samples of all tables come in, one text goes out, in the format that the scraper asked for (`exposition.ts`). The hot path
 * only adds to cells; everything that costs time happens here, when somebody scrapes. `process_metrics.ts` adds what the kernel
 * knows about this process, `ops_metrics.ts` what the control plane counts about itself, `aliases.ts` second names.
 */
export { aliasSamples } from "./aliases.ts";
export { chooseFormat, EXPOSITION_TYPES, type ExpositionFormat, formatExposition } from "./exposition.ts";
export { processMetrics } from "./process_metrics.ts";
export { certificateExpiry, OPS_METRICS, type OpsMetrics } from "./ops_metrics.ts";
