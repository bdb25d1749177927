/** The memory engine for worlds, and arenas that worlds use one after the other. */
import type { Arena } from "../../src/core/quic/mod.ts";
import { MEMORY_ENGINE_BYTES, MemoryEngine } from "./memory_engine_fixture.ts";
import type { StreamLimits } from "./memory_stream_table_fixture.ts";
import type { SimEngineKit } from "./sim_plane_fixture.ts";

/** Arenas lie anywhere but at 0, so that an offset is never taken for an address. */
const ADDRESS = 0x7000_0000_0000n;

const idle: Arena[] = [];

/** `limits` are smaller windows and fewer streams than the roles ask for. */
export function memoryKit(limits: Partial<StreamLimits> = {}): SimEngineKit {
  return {
    takeArena(bytes) {
      const at = idle.findIndex((arena) => arena.bytes.length === bytes);
      if (at >= 0) return idle.splice(at, 1)[0] as Arena;
      const memory = new Uint8Array(bytes);
      return { bytes: memory, view: new DataView(memory.buffer), address: ADDRESS };
    },
    // What was in it stays in it: nobody may depend on memory that he did not write.
    giveArena: (arena) => void idle.push(arena),
    createEngine: ({ arena, layout, random, clock, wallClock }) =>
      new MemoryEngine({ arena, scratch: layout.reserve(MEMORY_ENGINE_BYTES), random, clock, wallClock, limits }),
  };
}
