/** Events as they happen, a JSON line each. A follower that reads too slowly loses the oldest and is told how many. */
import type { SecurityEvent } from "../../base/mod.ts";
import type { SecurityEventStream } from "../events/mod.ts";

const QUEUE_MAX = 256;
/** An empty line, so that both ends notice when the other is gone. */
const BEAT_MS = 15_000;

const encoder = new TextEncoder();

/** Ends when `signal` aborts. */
export async function* followEvents(events: SecurityEventStream, signal: AbortSignal): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const queue: SecurityEvent[] = [];
  let lost = 0;
  let wake = () => {};
  const leave = events.subscribe((event) => {
    queue.push(event);
    if (queue.length > QUEUE_MAX) {
      queue.shift();
      lost++;
    }
    wake();
  });
  const onAbort = () => wake();
  signal.addEventListener("abort", onAbort);
  try {
    // Says at once that the stream stands.
    yield encoder.encode("\n");
    while (!signal.aborted) {
      if (lost > 0) {
        yield encoder.encode(JSON.stringify({ lost }) + "\n");
        lost = 0;
      }
      const event = queue.shift();
      if (event !== undefined) yield encoder.encode(JSON.stringify(event) + "\n");
      else if (!await waiting(BEAT_MS, (resolve) => wake = resolve) && !signal.aborted) yield encoder.encode("\n");
    }
  } finally {
    leave();
    signal.removeEventListener("abort", onAbort);
  }
}

/** Whether it was woken before the time ran out. */
function waiting(ms: number, onWake: (wake: () => void) => void): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), ms);
    onWake(() => {
      clearTimeout(timer);
      resolve(true);
    });
  });
}
