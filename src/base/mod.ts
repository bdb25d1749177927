/** Words that every folder uses: errors, log records, metric cells, deadlines, backoff. Nothing here touches the world. */
export * from "./address.ts";
export * from "./backoff.ts";
export * from "./bytes.ts";
export * from "./errors.ts";
export * from "./log.ts";
export * from "./log_gate.ts";
export * from "./log_sampler.ts";
export * from "./metric.ts";
export * from "./pins.ts";
export * from "./sanitize.ts";
export * from "./security_event.ts";
export * from "./status.ts";
export * from "./timer_heap.ts";
export * from "./tls_events.ts";
export * from "./tls_metrics.ts";
export * from "./validate.ts";
