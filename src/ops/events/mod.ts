/**
 * Security events: made anywhere, stamped and kept by the stream (`event_stream.ts`), shown newest first, followed live, counted,
 * and, where they matter, sent to a webhook (`alerts.ts`). A further sink (a signed log, a forwarder) is one more function.
 */
export { type EventQuery, openEventStream, type SecurityEventStream, type SecurityStatistics } from "./event_stream.ts";
export { type AlertSender, type AlertSettings, DEFAULT_ALERT_TIMEOUT_MS, DEFAULT_ALERT_TRIES, openAlerts } from "./alerts.ts";
