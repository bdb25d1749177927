/**
 * What a log line is, before anyone formats it. Producers (also in the data plane's isolate) build a {@linkcode LogRecord};
 * `src/ops` turns it into text. Event names are a closed union, so that a search for one finds all its places.
 */

export const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "fatal"] as const;
export type LogLevel = typeof LOG_LEVELS[number];

/** Field values are scalars: nothing that needs walking, nothing that could carry a key. */
export type LogFields = Readonly<Record<string, string | number | boolean | null>>;

export interface LogRecord {
  readonly level: LogLevel;
  /** The stable name of the event, from {@linkcode LOG_EVENTS}. */
  readonly event: LogEvent;
  /** One sentence for a person. */
  readonly message: string;
  readonly fields: LogFields;
}

/** Takes a record. It must not throw and must not keep the caller waiting. */
export type LogSink = (record: LogRecord) => void;

/** Every event name, with what it says. `docs/OPERATIONS.md` lists the same; a test compares the two. */
export const LOG_EVENTS = {
  "ready": "The role has bound every address and is at work.",
  "stopping": "A signal or an operator asked the role to end.",
  "drain-over": "The time to finish is over: what still ran was cut.",
  "stopped": "Graceful shutdown complete.",
  "settings-applied": "What the settings mean for who may connect.",
  "settings-warning": "A setting, a variable or a file works but deserves a look.",
  "verification-disabled": "A flag turned the verification of the peer off.",
  "trust-loaded": "Where the trusted authorities were read from.",
  "revocation-loaded": "A revocation list was read.",
  "revocation-stale": "A revocation list ends soon or has ended.",
  "peer-certificate-expiring": "The certificate of a client that connected ends soon.",
  "peer-revoked": "A connected peer was closed because its certificate is revoked, denied or expired, or a right withdrawn.",
  "reloading": "Certificates, revocation lists and limits are read anew.",
  "reloaded": "Certificates, revocation lists and limits were read anew.",
  "reload-failed": "What was read anew was refused; everything stays as it was.",
  "limit-exceeded": "Peers asked for more than a limit allows.",
  "resynchronised": "After a restart the services that were known are served again, or were waited for in vain.",
  "retry-token-refused": "Retry tokens were refused.",
  "signal-refused": "Signalling messages were refused.",
  "connection-opened": "A peer finished its handshake and was identified.",
  "connection-closed": "A peer's connection ended, with the reason.",
  "connection-refused": "A peer was turned away, with the reason.",
  "registered": "A peer registered for a service.",
  "p2p-opened": "An agent connected to the connector directly.",
  "p2p-closed": "An agent's direct connection ended.",
  "p2p-refused": "A direct connection was not let in.",
  "direct-opened": "The agent has a direct path to the connector of a service.",
  "direct-closed": "A direct path of the agent ended, and the service goes by the server.",
  "direct-failed": "The agent found no direct path for a service, with the reason; it looks again when the service is used later.",
  "direct-doubtful": "A direct path of the agent does not answer: what is new goes by the server.",
  "direct-detour": "A direct path of the agent is lost: what runs on it goes by the server.",
  "direct-back": "A direct path of the agent answers again.",
  "service-changed": "A reload added, changed or removed a service of the connector.",
  "service-ended": "Nothing runs any more of a service that was removed.",
  "withdrawn": "A connector takes nothing new of a service any more.",
  "registration-refused": "A registration was answered with a NACK.",
  "connector-replaced": "A connector took over a service from an older connection of the same identity.",
  "stream-refused": "An open was answered with a refusal.",
  "stream-closed": "A relayed stream ended.",
  "session-refused": "A TCP session or UDP flow that an agent began with packets was refused.",
  "session-closed": "A TCP session that an agent began with packets ended.",
  "backend-health": "A backend came up or went down.",
  "datagram-dropped": "Datagrams were dropped, with the reason and a count.",
  "tun-names-set": "The machine's resolver asks the agent about services' names.",
  "tun-names-not-set": "The machine's resolver could not be told of the agent's names; the record says what to set.",
  "tun-trouble": "The kernel refused a change to the agent's network interface.",
  "uplink-connecting": "The client dials the server.",
  "uplink-connected": "The client's connection to the server stands and is verified.",
  "network-changed": "Addresses, routes or links of this machine changed, or it slept; the server is asked at once.",
  "uplink-lost": "The client's connection to the server ended; it will dial again.",
  "uplink-failed": "The client could not connect to the server.",
  "backend-failed": "A backend refused the connection or did not answer.",
  "listener-ready": "A local listener is bound.",
  "socket-buffers": "The kernel granted smaller socket buffers than asked for.",
  "log-dropped": "Log records were left out because they came too fast.",
  "log-filter": "A part of the log filter matches no event.",
  "log-file-failed": "The log file could not be opened again; the old one stays in use.",
  "metrics-listening": "The metrics listener stands; the lines say where and with which files.",
  "metrics-off": "Nobody configured the metrics listener, so there is none.",
  "metrics-refused": "The metrics listener turned a client away before any request.",
  "metrics-reloaded": "The metrics listener uses new certificates.",
  "metrics-reload-failed": "New certificates of the metrics listener were refused; the old ones stay in use.",
  "request-failed": "A request to the metrics or the admin listener failed inside.",
  "admin-listening": "The admin socket stands.",
  "admin-off": "There is no admin socket: no place for it can be written.",
  "admin-token": "What happened to a process token; never the token.",
  "admin-denied": "A local caller was turned away.",
  "admin-steered": "A local caller steered this process, and which one.",
  "alert-failed": "An alert could not be delivered to its webhook.",
  "certificate-expiring": "A certificate in use ends soon or has ended.",
  "privileges-kept": "Privileges could not be given up as far as wanted.",
  "notify-failed": "The service manager could not be told.",
  "fatal": "The process ends because of an error.",
} as const;

export type LogEvent = keyof typeof LOG_EVENTS;
