/** SIGHUP reads everything anew, SIGUSR1 reopens the log. The signals that end a process belong to who waits for its end. */

export interface SignalActions {
  /** Configuration, certificates and the log file. */
  reload(): void;
  /** The log file alone, for logrotate. */
  reopenLog(): void;
}

/** Returns what stops listening; from then on these signals end the process again. */
export function listenForSignals(actions: SignalActions): () => void {
  const handlers = [["SIGHUP", () => actions.reload()], ["SIGUSR1", () => actions.reopenLog()]] as const;
  for (const [signal, handler] of handlers) Deno.addSignalListener(signal, handler);
  return () => {
    for (const [signal, handler] of handlers) Deno.removeSignalListener(signal, handler);
  };
}
