/**
 * The data plane's isolate: it opens the native library and builds its platform while the control plane still loads, then runs one
 * role's data plane in a loop that blocks in `epoll_wait` until it is told to stop. It hears two messages, `prepare` and `start`;
 * everything later comes by the command ring.
 */
import { createRolePlane, ROLE_ARENA_BYTES } from "./src/roles/mod.ts";
import {
  Plane,
  type PlaneMessage,
  type PlanePlatform,
  type PlanePrepare,
  type PlaneStart,
  type RolePlan,
} from "./src/roles/control/mod.ts";
import { ArenaLayout, createPlaneCrypto, Reactor } from "./src/io/mod.ts";
import { LogGate, messageOf, PosternError } from "./src/base/mod.ts";
import {
  createArena,
  createCertificateReader,
  createDeviceCalls,
  createLibc,
  createQuicheEngine,
  ENGINE_SCRATCH_BYTES,
  LIBC_SCRATCH_BYTES,
  loadNative,
} from "./ffi/mod.ts";

const ENTROPY_BYTES = 4096;

const scope = self as unknown as {
  postMessage(message: PlaneMessage): void;
  onmessage: ((event: MessageEvent<PlanePrepare | PlaneStart>) => void) | null;
};

/** Made by `prepare`; what went wrong there is said when it is needed. */
let makePlatform: () => PlanePlatform = () => {
  throw new PosternError("internal error: the data plane was started before it was prepared", { code: "internal" });
};

scope.onmessage = ({ data }) => data.type === "prepare" ? prepare(data) : start(data);

function prepare({ role }: PlanePrepare): void {
  try {
    const { path } = loadNative();
    const platform = createPlatform(role, path);
    makePlatform = () => platform;
    scope.postMessage({ type: "prepared", nativePath: path });
  } catch (error) {
    makePlatform = () => {
      throw error;
    };
    scope.postMessage({ type: "prepared", nativePath: null });
  }
}

function start(data: PlaneStart): void {
  scope.onmessage = null;
  try {
    const plane = new Plane(makePlatform(), data.commands, new LogGate(data.logGate));
    plane.run(createRolePlane(plane, data));
  } catch (error) {
    const known = error instanceof PosternError ? error : null;
    scope.postMessage({
      type: "failed",
      message: messageOf(error),
      hint: known?.hint ?? null,
      code: known?.code ?? "internal",
      exitCode: known?.exitCode ?? 1,
    });
    if (known === null) throw error;
  }
}

function createPlatform(role: RolePlan["role"], nativePath: string): PlanePlatform {
  const arena = createArena(ROLE_ARENA_BYTES[role]);
  const layout = new ArenaLayout(arena);
  const libc = createLibc(arena, layout.reserve(LIBC_SCRATCH_BYTES));
  const reader = createCertificateReader(nativePath);
  const summarize = (der: Uint8Array<ArrayBuffer>) => {
    try {
      return reader.summarize(der);
    } catch {
      return null;
    }
  };
  return {
    reactor: new Reactor(libc, layout, () => performance.now()),
    layout,
    engine: createQuicheEngine(nativePath, arena, layout.reserve(ENGINE_SCRATCH_BYTES), summarize),
    crypto: createPlaneCrypto(),
    entropy: pooledEntropy(),
    random: Math.random,
    wallClockMs: Date.now,
    post: (message) => scope.postMessage(message),
    openDevices: () => createDeviceCalls(arena),
  };
}

/** Randomness from the system in pages: a call for each connection ID would cost more than the ID. */
function pooledEntropy(): (bytes: Uint8Array) => void {
  const pool = new Uint8Array(ENTROPY_BYTES);
  let used = ENTROPY_BYTES;
  return (bytes) => {
    if (used + bytes.length > ENTROPY_BYTES) {
      crypto.getRandomValues(pool);
      used = 0;
    }
    bytes.set(pool.subarray(used, used + bytes.length));
    pool.fill(0, used, used + bytes.length);
    used += bytes.length;
  };
}
