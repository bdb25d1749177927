/**
 * The program: builds the platform (native library, clock, terminal, the three roles) and hands it to the command line, whose
 * answer is the exit code. The native library is opened when the first command needs it; `--help` and `--version` never do.
 *
 * A role's worker is started before anything else is loaded: its modules load on another core meanwhile.
 */
import denoConfig from "./deno.json" with { type: "json" };
import type { Platform } from "./src/cli/mod.ts";
import { resolveHost } from "./src/io/mod.ts";
import { createPlan, type HostPlatform, startHost } from "./src/roles/control/mod.ts";
import { ROLE_METRICS } from "./src/roles/metrics.ts";
import {
  type CertificateReader,
  createArena,
  createCertificateReader,
  createLibc,
  LIBC_SCRATCH_BYTES,
  loadNative,
} from "./ffi/mod.ts";

const ROLE_COMMANDS = ["server", "connector", "agent"];
const encoder = new TextEncoder();

let earlyWorker = ROLE_COMMANDS.includes(Deno.args[0] ?? "") ? spawnWorker() : null;
const { runCli } = await import("./src/cli/mod.ts");
const { openLog } = await import("./src/ops/log/mod.ts");

function spawnWorker(): Worker {
  // In the binary both are bundled to JavaScript.
  const file = import.meta.url.endsWith(".ts") ? "./worker.ts" : "./worker.js";
  return new Worker(new URL(file, import.meta.url), { type: "module", name: "data-plane" });
}

/** The worker that is already loading, the first time. */
function takeWorker(): Worker {
  const worker = earlyWorker ?? spawnWorker();
  earlyWorker = null;
  return worker;
}

function createPlatform(): Platform {
  let reader: CertificateReader | null = null;
  return {
    version: denoConfig.version,
    components: { deno: Deno.version.deno, v8: Deno.version.v8, typescript: Deno.version.typescript },
    writeOut: (text) => writeAll(Deno.stdout, text),
    writeError: (text) => writeAll(Deno.stderr, text),
    isTerminal: (stream) => Deno[stream].isTerminal(),
    environment: () => Deno.env.toObject(),
    readFile: (path) => Deno.readFile(path),
    fileMode: async (path) => {
      const mode = (await Deno.stat(path)).mode;
      return mode === null ? null : mode & 0o777;
    },
    readCertificates: (pem) => {
      const native = reader ??= createCertificateReader(loadNative().path);
      return native.certificatesOf(pem as Uint8Array<ArrayBuffer>).map((der) => native.summarize(der));
    },
    nowMs: Date.now,
    openLog: (settings) => openLog(settings, (name) => Deno.env.get(name)),
    startRole: async ({ settings, material, log }) => {
      const plan = await createPlan(settings, material, resolveHost);
      return await startHost(createHostPlatform(), plan, ROLE_METRICS[plan.role], log.sink);
    },
    onSignal: (signal, handler) => {
      Deno.addSignalListener(signal, handler);
      return () => Deno.removeSignalListener(signal, handler);
    },
  };
}

function createHostPlatform(): HostPlatform {
  const libc = createLibc(createArena(LIBC_SCRATCH_BYTES), 0);
  return {
    spawnWorker: takeWorker,
    nativePath: loadNative().path,
    eventfd: () => libc.eventfd(),
    signalEventfd: (fd) => libc.eventfdSignal(fd),
    resolve: resolveHost,
  };
}

function writeAll(stream: { writeSync(bytes: Uint8Array): number }, text: string): void {
  for (let rest = encoder.encode(text); rest.length > 0; rest = rest.subarray(stream.writeSync(rest)));
}

if (import.meta.main) Deno.exit(await runCli(Deno.args, createPlatform()));
