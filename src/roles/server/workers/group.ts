/**
 * What the workers of one server share, and the part of it that each of them has alike: worker 0 decides everything and carries
 * connections as well, the others only carry connections. Each of those has a pair of rings with worker 0.
 */
import type { Steering } from "../../../core/quic/mod.ts";
import type { Inbox, Libc, Reactor } from "../../../io/mod.ts";
import type { WorkerCells, WorkerGroup } from "../../control/mod.ts";
import { Link } from "./link.ts";

/** A worker that has this much more than the one with the least, and one more, gets no client while others can have it. */
const UNEVEN_SHARE = 1.1;

/** The cells of this worker, and its link with another. */
export function openLink(libc: Libc, group: WorkerGroup, cells: WorkerCells, other: number): Link {
  const pair = group.rings[Math.max(group.worker, other) - 1];
  if (pair === undefined) throw new Error("postern: internal error: a worker without rings");
  const isUpward = group.worker > other;
  return new Link({
    libc,
    cells,
    other,
    eventFd: group.eventFds[other] ?? -1,
    out: isUpward ? pair.up : pair.down,
    in: isUpward ? pair.down : pair.up,
  });
}

/** A client that was placed has come by then, or does not. */
const PLACED_MS = 1_000;

/** Places clients by chance, and not with a worker that has more than its share. */
export function steeringOf(group: WorkerGroup, cells: WorkerCells, handOver: Steering["handOver"]): Steering {
  const { worker, workers } = group;
  // Many may be placed before the first of them has come: they count as if they were there.
  const expected = new Array<number>(workers).fill(0);
  let sinceMs = -Infinity;
  const of = (one: number) => Math.max(cells.connectionsOf(one), expected[one] ?? 0);
  const place = (chance: number, nowMs: number): number => {
    if (nowMs - sinceMs >= PLACED_MS) {
      sinceMs = nowMs;
      for (let one = 0; one < workers; one++) expected[one] = cells.connectionsOf(one);
    }
    const next = chance % workers;
    let least = next;
    for (let one = 0; one < workers; one++) if (of(one) < of(least)) least = one;
    const placed = of(next) > of(least) * UNEVEN_SHARE + 1 ? least : next;
    expected[placed] = of(placed) + 1;
    return placed;
  };
  return { worker, workers, handOver, place };
}

/** The rings of one worker as the reactor sees them. */
export class LinkInbox implements Inbox {
  readonly #reactor: Reactor;
  readonly #cells: WorkerCells;
  readonly #links: readonly Link[];
  readonly #onRecord: (link: Link) => void;
  readonly #onTaken: () => void;
  #isAsleep = false;

  /** `onTaken` runs after all records of a turn. */
  constructor(
    reactor: Reactor,
    cells: WorkerCells,
    links: readonly Link[],
    onRecord: (link: Link) => void,
    onTaken: () => void,
  ) {
    this.#reactor = reactor;
    this.#cells = cells;
    this.#links = links;
    this.#onRecord = onRecord;
    this.#onTaken = onTaken;
    reactor.setInbox(this);
  }

  take(_nowMs: number): void {
    if (this.#isAsleep) {
      this.#isAsleep = false;
      this.#cells.isAsleep = false;
    }
    for (const link of this.#links) if (link.take(this.#onRecord)) this.#reactor.again();
    this.#onTaken();
  }

  maySleep(): boolean {
    this.#isAsleep = true;
    this.#cells.wantsRoom = this.#links.some((link) => link.isBlocked);
    this.#cells.isAsleep = true;
    for (const link of this.#links) if (!link.reader.isEmpty || link.canGoOn) return this.#stay();
    return true;
  }

  /** Ends a turn: what was written is seen. */
  flush(): void {
    for (const link of this.#links) link.flush();
  }

  #stay(): false {
    this.#isAsleep = false;
    this.#cells.isAsleep = false;
    return false;
  }
}
