/**
 * How much is too much: the arithmetic of limits, without clocks or timers. {@linkcode TokenBucket} and
 * {@linkcode SlidingWindow} count one thing, {@linkcode KeyedLimits} many alike, {@linkcode ServerLimiter} all that a server
 * limits.
 */
export * from "./keyed_limits.ts";
export * from "./limits.ts";
export * from "./server_limiter.ts";
export * from "./sliding_window.ts";
export * from "./source_prefix.ts";
export * from "./token_bucket.ts";
