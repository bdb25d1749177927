/**
 * Streams that are over for us while their last bytes, or the end behind them, are still on their way. The engine tells nobody when
 * they have arrived: it forgets the stream then, and that can be seen.
 */
import { type EngineConnection, EngineError } from "./engine.ts";

/** So many are kept before the first look at which of them the engine still knows. */
const KEPT_FIRST = 64;

export class LeavingStreams {
  readonly #engine: EngineConnection;
  readonly #streams = new Set<number>();
  #lookAt = KEPT_FIRST;

  constructor(engine: EngineConnection) {
    this.#engine = engine;
  }

  add(stream: number): void {
    this.#streams.add(stream);
    if (this.#streams.size < this.#lookAt) return;
    this.#forgetArrived();
    // Not more often than the number doubles: a constant number of looks for each stream.
    this.#lookAt = Math.max(KEPT_FIRST, 2 * this.#streams.size);
  }

  /** Whether something is still on its way. */
  get isAny(): boolean {
    if (this.#streams.size > 0) this.#forgetArrived();
    return this.#streams.size > 0;
  }

  #forgetArrived(): void {
    for (const stream of this.#streams) {
      if (this.#engine.streamCapacity(stream) === EngineError.invalidStreamState) this.#streams.delete(stream);
    }
  }
}
