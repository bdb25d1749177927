/**
 * The states of a client's connection to its server.
 *
 *   waiting ──dial──► dialling ──established──► proving ──answered──► up
 *      ▲                 │                         │                  │
 *      └──────lost───────┴──────────lost───────────┴───────lost───────┘        any ──stop──► stopped
 *
 * `proving`: the client's handshake is done, but in TLS 1.3 the server may still refuse the client's certificate; only the
 * server's first answer shows that it did not.
 */
export type UplinkState = "waiting" | "dialling" | "proving" | "up" | "stopped";
export type UplinkEvent = "dial" | "established" | "answered" | "lost" | "stop";

/** The next state, or null where an event cannot happen. */
export const UPLINK_TABLE: Readonly<Record<UplinkState, Readonly<Record<UplinkEvent, UplinkState | null>>>> = {
  waiting: { dial: "dialling", established: null, answered: null, lost: null, stop: "stopped" },
  dialling: { dial: null, established: "proving", answered: null, lost: "waiting", stop: "stopped" },
  proving: { dial: null, established: null, answered: "up", lost: "waiting", stop: "stopped" },
  up: { dial: null, established: null, answered: "up", lost: "waiting", stop: "stopped" },
  stopped: { dial: null, established: null, answered: null, lost: "stopped", stop: "stopped" },
};
