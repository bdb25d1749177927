/**
 * The events that are kept, oldest first. When it is full a tenth goes at once, so that adding stays cheap: of the least severe events
 * that have more than their share of the ring, and among those of the type with the most. What strangers can cause as often as
 * they like pushes out its own kind, and nothing that is more severe.
 */
import { type SecurityEvent, type SecurityEventType, SEVERITIES } from "../../base/mod.ts";

/** How many events are kept, and for how long. */
export interface EventBounds {
  readonly max: number;
  readonly ageMaxMs: number;
}

/** What goes when the ring is full, at most. */
const TRIM_SHARE = 0.1;
/** What each severity keeps whatever the others do. Four of them leave room for what has to go. */
const KEPT_SHARE = 0.9 / SEVERITIES.length;

export class EventRing {
  readonly #bounds: EventBounds;
  #events: SecurityEvent[] = [];

  constructor(bounds: EventBounds) {
    this.#bounds = bounds;
  }

  get size(): number {
    return this.#events.length;
  }

  add(event: SecurityEvent): void {
    if (this.#events.push(event) > this.#bounds.max) this.#trim();
  }

  /** Forgets what is too old; `nowMs` is milliseconds since the epoch. */
  dropOld(nowMs: number): void {
    const oldest = new Date(nowMs - this.#bounds.ageMaxMs).toISOString();
    const first = this.#events.findIndex(({ timestamp }) => timestamp >= oldest);
    if (first !== 0) this.#events.splice(0, first < 0 ? this.#events.length : first);
  }

  /** Newest first. */
  *newest(): Iterable<SecurityEvent> {
    for (let i = this.#events.length - 1; i >= 0; i--) yield this.#events[i] as SecurityEvent;
  }

  #trim(): void {
    const { max } = this.#bounds;
    const kept = Math.floor(max * KEPT_SHARE);
    for (const severity of SEVERITIES) {
      const types = new Map<SecurityEventType, number>();
      let count = 0;
      for (const event of this.#events) {
        if (event.severity !== severity) continue;
        types.set(event.event_type, (types.get(event.event_type) ?? 0) + 1);
        count++;
      }
      const spare = Math.min(count - kept, Math.ceil(max * TRIM_SHARE));
      const [type, most] = [...types].reduce((a, b) => b[1] > a[1] ? b : a, [null, 0] as [SecurityEventType | null, number]);
      if (spare <= 0 || type === null) continue;
      // Half of a type at most: others of its severity may have almost as many.
      return this.#dropOldest(type, Math.max(1, Math.min(spare, types.size === 1 ? most : Math.floor(most / 2))));
    }
  }

  #dropOldest(type: SecurityEventType, count: number): void {
    let left = count;
    this.#events = this.#events.filter((event) => event.event_type !== type || left-- <= 0);
  }
}
