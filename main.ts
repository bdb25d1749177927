/**
 * The program: builds the platform (native library, clock, terminal, the three roles) and hands it to the command line, whose
 * answer is the exit code. The native library is opened when the first command needs it; `--help` and `--version` never do.
 *
 * A role gives up its privileges before anything else: that executes the program anew, so nothing is loaded twice that need not be.
 * Then its worker is started: it loads its modules and opens the native library on another core while our modules load.
 */
import denoConfig from "./deno.json" with { type: "json" };
import type { CertificateReader } from "./ffi/mod.ts";
import { createHardeningNative } from "./ffi/process/mod.ts";
import type { Platform, RoleStart, StandardPipe } from "./src/cli/mod.ts";
import type { OpsNative } from "./src/ops/mod.ts";
import { capabilitiesWanted, hardenProcess } from "./src/ops/privileges/mod.ts";
import type { HostPlatform, PlaneMessage, PlanePrepare, RolePlan } from "./src/roles/control/mod.ts";

const ROLE_COMMANDS: readonly RolePlan["role"][] = ["server", "connector", "agent"];
const NO_FILE = { dev: 0, ino: null, size: 0, mtime: null };
/** The control plane's sockets: what one request or one TLS record needs, many times over. */
const OPS_ARENA_BYTES = 256 * 1024;
/** A socket, the engine, and a datagram each way. */
const PROBE_ARENA_BYTES = 8 * 1024 * 1024;
const encoder = new TextEncoder();

const role = ROLE_COMMANDS.find((name) => name === Deno.args[0]) ?? null;
/** What looks at a role's way sees what the role will see: the privileges that a role has not are not used for it. */
const likeRole = Deno.args[0] === "doctor" ? Deno.args[1] === "connector" ? "connector" : "agent" : role;
const privilegesKept = likeRole === null ? [] : giveUpPrivileges([likeRole, ...Deno.args.slice(1)]);
const dataPlane = role === null ? null : spawnWorker(role);
// All at once: each import that is waited for by itself costs a round through the loader.
const [
  { ArenaLayout, canSharePorts, formatEndpoint, LINK_COUNTS_PATH, linkDrops, resolveHost, setLinkDns, SHARING_TRIAL_BYTES },
  { createPlan, startHost },
  { ROLE_METRICS },
  native,
  { runCli },
  { openLog },
] = await Promise
  .all([
    import("./src/io/mod.ts"),
    import("./src/roles/control/mod.ts"),
    import("./src/roles/metrics.ts"),
    import("./ffi/mod.ts"),
    import("./src/cli/mod.ts"),
    import("./src/ops/log/mod.ts"),
    role === null ? null : import("./src/ops/mod.ts"),
    role === null ? null : import("./src/io/http/mod.ts"),
  ]);
const { createArena, createCertificateReader, createLibc, createTlsEngine, LIBC_SCRATCH_BYTES, loadNative } = native;
/** Where the data plane could not open the library, this isolate finds out why. */
const preparedPath = dataPlane === null ? null : await dataPlane.nativePath;
const nativePath = () => preparedPath ?? loadNative().path;
let isDataPlaneTaken = false;
let tls: ReturnType<typeof createTlsEngine> | null = null;
const openTls = () => tls ??= createTlsEngine(nativePath());

/** Returns in the process that is limited, with what it could not give up. */
function giveUpPrivileges(args: readonly string[]): readonly string[] {
  const wanted = capabilitiesWanted(args, Deno.env.toObject(), (path) => {
    try {
      return Deno.readTextFileSync(path);
    } catch {
      return null;
    }
  });
  return hardenProcess(createHardeningNative(), wanted).problems;
}

interface DataPlane {
  readonly worker: Worker;
  readonly nativePath: Promise<string | null>;
}

function spawnWorker(role: RolePlan["role"]): DataPlane {
  // In the binary both are bundled to JavaScript.
  const file = import.meta.url.endsWith(".ts") ? "./worker.ts" : "./worker.js";
  const worker = new Worker(new URL(file, import.meta.url), { type: "module", name: "data-plane" });
  const { promise: nativePath, resolve } = Promise.withResolvers<string | null>();
  worker.onmessage = ({ data }: MessageEvent<PlaneMessage>) => resolve(data.type === "prepared" ? data.nativePath : null);
  worker.onerror = () => resolve(null);
  const message: PlanePrepare = { type: "prepare", role };
  worker.postMessage(message);
  return { worker, nativePath };
}

/** The worker of the role that the command line names, and further ones like it. */
function takeWorker(): Worker {
  if (dataPlane === null || role === null) throw new Error("no data plane was prepared");
  if (isDataPlaneTaken) return spawnWorker(role).worker;
  isDataPlaneTaken = true;
  return dataPlane.worker;
}

function createPlatform(): Platform {
  let reader: CertificateReader | null = null;
  const openReader = () => reader ??= createCertificateReader(nativePath());
  const readCertificates: Platform["readCertificates"] = (pem) => {
    const native = openReader();
    return native.certificatesOf(pem as Uint8Array<ArrayBuffer>).map((der) => native.summarize(der));
  };
  return {
    version: denoConfig.version,
    get components() {
      const { deno, v8, typescript } = Deno.version;
      return { ...readBuildRecord(), native: `sha256:${native.LIBRARY_SHA256}`, deno, v8, typescript };
    },
    writeOut: (text) => writeAll(Deno.stdout, text),
    writeError: (text) => writeAll(Deno.stderr, text),
    isTerminal: (stream) => Deno[stream].isTerminal(),
    environment: () => Deno.env.toObject(),
    readFile: (path) => Deno.readFile(path),
    fileMode: async (path) => permissionBits(await Deno.stat(path)),
    createPrivateFile: async (path, bytes) => {
      using file = await Deno.open(path, { write: true, createNew: true, mode: 0o600 });
      for (let rest = bytes; rest.length > 0; rest = rest.subarray(await file.write(rest)));
      await file.sync();
    },
    replaceFile: async (path, bytes) => {
      await Deno.writeFile(`${path}.new`, bytes);
      await Deno.rename(`${path}.new`, path);
    },
    fileFingerprint: async (path) => {
      const { dev, ino, size, mtime } = await Deno.stat(path).catch(() => NO_FILE);
      return ino === null ? "" : `${dev}:${ino}:${size}:${mtime?.getTime()}`;
    },
    entropy: (bytes) => void crypto.getRandomValues(bytes as Uint8Array<ArrayBuffer>),
    readCertificates,
    nowMs: Date.now,
    openLog: (settings) => openLog(settings, (name) => Deno.env.get(name)),
    privilegesKept,
    createTlsContext: (options) => openTls().createContext(options),
    startOps: async (source, { settings, log }) => {
      const [{ startOps }, native] = await Promise.all([import("./src/ops/mod.ts"), createOpsNative(readCertificates)]);
      return await startOps({ source, settings: settings.ops, log, native, environment: (name) => Deno.env.get(name) });
    },
    openPipe,
    resolve: resolveHost,
    openProbe: () => openProbe((der) => openReader().summarize(der)),
    readLines,
    startRole: async (start, { record, metricsAddress, adminPath }) => {
      const { settings, material, log } = start;
      const plan = withConnection(await createPlan(settings, material, resolveHost), start);
      const host = await startHost(createHostPlatform(), plan, ROLE_METRICS[plan.role], log, {
        record,
        listening: {
          ...(metricsAddress === null ? {} : { metrics: formatEndpoint(metricsAddress) }),
          ...(adminPath === null ? {} : { admin: adminPath }),
        },
      });
      return {
        host,
        finished: host.finished,
        stop: () => host.stop(),
        abort: () => host.abort(),
        reload: async (start) => await host.reload(await createPlan(start.settings, start.material, resolveHost)),
      };
    },
    onSignal: (signal, handler) => {
      Deno.addSignalListener(signal, handler);
      return () => Deno.removeSignalListener(signal, handler);
    },
  };
}

/** What the build says of itself (tools/build_record.ts); nothing when the program runs from a checkout. */
function readBuildRecord(): Readonly<Record<string, string>> {
  try {
    return JSON.parse(Deno.readTextFileSync(new URL("./build.json", import.meta.url)));
  } catch {
    return { commit: "not built" };
  }
}

function createHostPlatform(): HostPlatform {
  const libc = createLibc(createArena(LIBC_SCRATCH_BYTES + SHARING_TRIAL_BYTES), 0);
  const system = createHardeningNative();
  return {
    cores: navigator.hardwareConcurrency,
    canSharePorts: () => canSharePorts(libc, LIBC_SCRATCH_BYTES),
    spawnWorker: takeWorker,
    eventfd: () => libc.eventfd(),
    signalEventfd: (fd) => libc.eventfdSignal(fd),
    resolve: resolveHost,
    setLinkDns,
    linkDrops: (link) => linkDrops(link, system.readSystemFile(LINK_COUNTS_PATH) ?? new Uint8Array(0)),
  };
}

/** The one connection for which an agent was started is no setting. */
function withConnection(plan: RolePlan, start: RoleStart): RolePlan {
  return plan.role === "agent" && "connect" in start && start.connect !== undefined ? { ...plan, connect: start.connect } : plan;
}

async function openPipe(): Promise<StandardPipe> {
  const [{ FdStream, joinStandardStreams }, { createPoller, process }] = await Promise.all([
    import("./src/io/http/mod.ts"),
    createOpsNative(() => []),
  ]);
  const ends = process.socketPair();
  if (typeof ends === "number") throw new Error(`no sockets for standard input and output (errno ${-ends})`);
  const stream = FdStream.open(createPoller(), ends[1]);
  if (stream === null) throw new Error("standard input and output cannot be watched");
  const standard = {
    read: (into: Uint8Array<ArrayBuffer>) => Deno.stdin.read(into),
    write: (bytes: Uint8Array<ArrayBuffer>) => Deno.stdout.write(bytes),
    closeWrite: () => Deno.stdout.close(),
  };
  return { fd: ends[0], join: () => joinStandardStreams(stream, standard) };
}

/** A data plane in this isolate, for one connection. */
async function openProbe(summarize: CertificateReader["summarize"]) {
  const { createQuicheEngine, ENGINE_SCRATCH_BYTES } = native;
  const { Reactor } = await import("./src/io/mod.ts");
  const arena = createArena(PROBE_ARENA_BYTES);
  const layout = new ArenaLayout(arena);
  const libc = createLibc(arena, layout.reserve(LIBC_SCRATCH_BYTES));
  const engine = createQuicheEngine(nativePath(), arena, layout.reserve(ENGINE_SCRATCH_BYTES), summarize);
  return {
    engine,
    layout,
    reactor: new Reactor(libc, layout, () => performance.now()),
    entropy: (bytes: Uint8Array) => void crypto.getRandomValues(bytes as Uint8Array<ArrayBuffer>),
  };
}

function readLines(): () => Promise<string | null> {
  const lines = Promise.all([import("node:readline"), import("node:process")]).then(([{ createInterface }, { stdin }]) =>
    createInterface({ input: stdin })[Symbol.asyncIterator]()
  );
  return async () => {
    const { done, value } = await (await lines).next();
    return done === true ? null : value;
  };
}

/** Loaded when a role asks for it: no other command does. */
async function createOpsNative(readCertificates: Platform["readCertificates"]): Promise<OpsNative> {
  const [{ Poller }, { createProcessNative }] = await Promise.all([import("./src/io/http/mod.ts"), import("./ffi/process/mod.ts")]);
  const arena = createArena(OPS_ARENA_BYTES);
  const layout = new ArenaLayout(arena);
  const libc = createLibc(arena, layout.reserve(LIBC_SCRATCH_BYTES));
  const process = createProcessNative(arena);
  return {
    process,
    createPoller: () => new Poller(libc, process, layout),
    createTlsContext: (options) => openTls().createContext(options),
    readCertificates,
  };
}

/**
 * Without the reading by a group that is this process's own, where the file is root's: so a volume hands a secret to the one user that
 * shall read it, who could not be its owner.
 */
function permissionBits({ mode, uid, gid }: Deno.FileInfo): number | null {
  if (mode === null) return null;
  const isHandedOver = uid === 0 && Deno.uid() !== 0 && gid === Deno.gid();
  return mode & (isHandedOver ? 0o737 : 0o777);
}

function writeAll(stream: { writeSync(bytes: Uint8Array): number }, text: string): void {
  for (let rest = encoder.encode(text); rest.length > 0; rest = rest.subarray(stream.writeSync(rest)));
}

if (import.meta.main) Deno.exit(await runCli(Deno.args, createPlatform()));
