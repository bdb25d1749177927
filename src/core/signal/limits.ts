/** Bounds of signalling. The wire's own stand in core/wire; the lifetime and the delay are WIRE 6.6, the rest is our choice. */
export const SIGNAL_LIMITS = {
  sessionsMax: 4_096,
  sessionsPerAgentMax: 8,
  /** That all agents of one identity began. */
  sessionsPerIdentityMax: 256,
  sessionsPerConnectorMax: 256,
  /** From the offer to the end, whatever happens in between. */
  lifetimeMs: 5_000,
  startDelayMs: 100,
} as const;
export type SignalLimits = { readonly [K in keyof typeof SIGNAL_LIMITS]: number };
