/** SIGHUP reads everything anew, SIGUSR1 reopens the log, SIGTERM and SIGINT end in order, and a second one of these at once. */

export interface SignalActions {
  /** Configuration, certificates and the log file. */
  reload(): void;
  /** The log file alone, for logrotate. */
  reopen(): void;
  stop(signal: "SIGTERM" | "SIGINT"): void;
  /** The second signal to end: leave without saying goodbye. */
  abort(): void;
}

/** Returns what stops listening. */
export function listenForSignals(actions: SignalActions): () => void {
  let isStopping = false;
  const stop = (signal: "SIGTERM" | "SIGINT") => () => {
    if (isStopping) return actions.abort();
    isStopping = true;
    actions.stop(signal);
  };
  const handlers = [
    ["SIGHUP", () => actions.reload()],
    ["SIGUSR1", () => actions.reopen()],
    ["SIGTERM", stop("SIGTERM")],
    ["SIGINT", stop("SIGINT")],
  ] as const;
  for (const [signal, handler] of handlers) Deno.addSignalListener(signal, handler);
  return () => {
    for (const [signal, handler] of handlers) Deno.removeSignalListener(signal, handler);
  };
}
