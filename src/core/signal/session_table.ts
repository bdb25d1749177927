/**
 * The states of one signalling session at the server.
 *
 *   (offer) ──► offered ──answer──► punching ──agent-result──► agent-reported ──connector-result──► closed
 *                  │                    └─connector-result──► connector-reported ──agent-result──► closed
 *                  └──── error, timeout, gone, from any state ────► closed
 */

export type SessionState = "offered" | "punching" | "agent-reported" | "connector-reported" | "closed";
export type SessionEvent = "answer" | "agent-result" | "connector-result" | "error" | "timeout" | "gone";

/** The next state, or null where the event is refused and changes nothing. */
export const SESSION_TABLE: Readonly<Record<SessionState, Readonly<Record<SessionEvent, SessionState | null>>>> = {
  "offered": {
    "answer": "punching",
    "agent-result": null,
    "connector-result": null,
    "error": "closed",
    "timeout": "closed",
    "gone": "closed",
  },
  "punching": {
    "answer": null,
    "agent-result": "agent-reported",
    "connector-result": "connector-reported",
    "error": "closed",
    "timeout": "closed",
    "gone": "closed",
  },
  "agent-reported": {
    "answer": null,
    "agent-result": null,
    "connector-result": "closed",
    "error": "closed",
    "timeout": "closed",
    "gone": "closed",
  },
  "connector-reported": {
    "answer": null,
    "agent-result": "closed",
    "connector-result": null,
    "error": "closed",
    "timeout": "closed",
    "gone": "closed",
  },
  "closed": {
    "answer": null,
    "agent-result": null,
    "connector-result": null,
    "error": null,
    "timeout": null,
    "gone": null,
  },
};
