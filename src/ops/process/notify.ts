/**
 * Tells the service manager how the process is: sd_notify(3), one datagram a message to the socket named by `NOTIFY_SOCKET`. Without
 * that variable everything here does nothing. The watchdog is fed only while the process finds itself alive, so that a data plane
 * that hangs is restarted.
 */
import { messageOf } from "../../base/mod.ts";
import { errnoText } from "../../io/mod.ts";
import type { ProcessNative } from "../../io/http/mod.ts";

export interface ServiceNotifier {
  ready(status: string): void;
  /** Between this and the next {@linkcode ready} the manager waits. */
  reloading(): void;
  stopping(): void;
  status(text: string): void;
  /** Feeds the watchdog, if the manager set one, each time that `isAlive` resolves to true. */
  startWatchdog(isAlive: () => Promise<boolean>): void;
  close(): void;
}

/** `onFailure` hears once of a socket that cannot be reached. */
export function openNotifier(
  native: ProcessNative,
  environment: (name: string) => string | undefined,
  onFailure: (why: string) => void,
): ServiceNotifier {
  const path = environment("NOTIFY_SOCKET") ?? "";
  const intervalMs = watchdogMs(environment);
  let timer: number | null = null;
  let hasFailed = false;
  const send = (message: string) => {
    if (path === "") return;
    const result = native.sendToUnix(path, message);
    if (result >= 0 || hasFailed) return;
    hasFailed = true;
    onFailure(`the service manager cannot be told (${path}): ${errnoText(-result)}`);
  };
  return {
    ready: (status) => send(`READY=1\nSTATUS=${oneLine(status)}\nMAINPID=${Deno.pid}`),
    reloading: () => send(`RELOADING=1\nMONOTONIC_USEC=${native.monotonicUsec()}`),
    stopping: () => send("STOPPING=1"),
    status: (text) => send(`STATUS=${oneLine(text)}`),
    startWatchdog(isAlive) {
      if (path === "" || intervalMs === null || timer !== null) return;
      let isAsking = false;
      timer = setInterval(() => {
        // Who still waits for the last answer is stuck; asking again would not help.
        if (isAsking) return;
        isAsking = true;
        isAlive().then((alive) => alive ? send("WATCHDOG=1") : undefined, (error) => onFailure(messageOf(error)))
          .finally(() => isAsking = false);
      }, intervalMs);
      Deno.unrefTimer(timer);
    },
    close() {
      if (timer !== null) clearInterval(timer);
      timer = null;
    },
  };
}

/** Half of what the manager allows; null when it set no watchdog or set it for another process. */
function watchdogMs(environment: (name: string) => string | undefined): number | null {
  const usec = Number(environment("WATCHDOG_USEC") ?? "0");
  const pid = environment("WATCHDOG_PID") ?? "";
  if (!Number.isInteger(usec) || usec <= 0 || (pid !== "" && pid !== String(Deno.pid))) return null;
  return Math.max(1, Math.floor(usec / 2000));
}

function oneLine(text: string): string {
  return text.replaceAll(/[\r\n]+/g, " ").slice(0, 512);
}
