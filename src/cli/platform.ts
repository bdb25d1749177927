/**
 * What the command line needs of the world. `main.ts` fills it in with the native library, the runtime and the roles; tests
 * fill it in with what they want to see. Nothing in this folder reaches the world in another way, but for files that
 * certificates are written to.
 */

import type { AgentSettings, ConnectorSettings, RoleMaterial, ServerSettings } from "../config/mod.ts";
import type { CertificateSummary } from "../core/quic/mod.ts";
import type { TlsContext, TlsContextOptions } from "../io/http/mod.ts";
import type { Log, LogSettings } from "../ops/log/mod.ts";
import type { ProbeWorld } from "../diag/probe/mod.ts";
import type { Ops, OpsSource } from "../ops/mod.ts";
import type { ConnectPlan, RoleHost } from "../roles/control/mod.ts";

export type StandardStream = "stdin" | "stdout" | "stderr";
export type StopSignal = "SIGINT" | "SIGTERM" | "SIGHUP" | "SIGUSR1";

export interface Platform {
  /** Of this program, such as `0.1.0`. */
  readonly version: string;
  /** Versions of what it is made of: `deno`, `v8`, `quiche`, ... */
  readonly components: Readonly<Record<string, string>>;
  /** Data for the caller. Synchronous: what was written stands there when the process ends. */
  readonly writeOut: (text: string) => void;
  /** Words for the person. */
  readonly writeError: (text: string) => void;
  readonly isTerminal: (stream: StandardStream) => boolean;
  readonly environment: () => Readonly<Record<string, string>>;
  /** Rejects with the runtime's errors (`Deno.errors.NotFound`, ...). */
  readonly readFile: (path: string) => Promise<Uint8Array>;
  /** The permission bits of a file that concern others than root and this process, or null where there are none. */
  readonly fileMode: (path: string) => Promise<number | null>;
  /** Makes a new file that only its owner may read. Rejects with `Deno.errors.AlreadyExists`. */
  readonly createPrivateFile: (path: string, bytes: Uint8Array) => Promise<void>;
  /** Puts a file in the place of whatever is there, all of it or nothing. */
  readonly replaceFile: (path: string, bytes: Uint8Array) => Promise<void>;
  /** What changes when the file does, through all links; "" when it is not there. */
  readonly fileFingerprint: (path: string) => Promise<string>;
  /** Fills with unpredictable bytes. */
  readonly entropy: (bytes: Uint8Array) => void;
  /** The certificates of a PEM text, read by the library that verifies peers; leaf first. Throws when there is none or one is damaged. */
  readonly readCertificates: (pem: Uint8Array) => readonly CertificateSummary[];
  /** Milliseconds since the epoch. */
  readonly nowMs: () => number;
  /** Throws a usage error for a filter that cannot be read. */
  readonly openLog: (settings: LogSettings) => Log;
  /** Privileges that this process could not give up, a sentence each. */
  readonly privilegesKept: readonly string[];
  /** A TLS context of the bundled library; loads it. */
  readonly createTlsContext: (options: TlsContextOptions) => TlsContext;
  /** Binds what a role is seen and steered by. Rejects, with nothing left behind, when that cannot be. */
  readonly startOps: (source: OpsSource, start: RoleStart) => Promise<Ops>;
  /** Resolves when the role has begun; rejects when it cannot. `record` takes its security events. */
  readonly startRole: (start: RoleStart, ops: Pick<Ops, "record" | "metricsAddress" | "adminPath">) => Promise<RoleHandle>;
  /** A socket of this process whose other end can be joined to standard input and output. */
  readonly openPipe: () => Promise<StandardPipe>;
  /** What a probe is made of: an engine and a reactor in this isolate; loads the bundled library. */
  readonly openProbe: () => Promise<ProbeWorld>;
  /** The addresses of a name, in the system's order. Rejects with a PosternError when there is none. */
  readonly resolve: (host: string) => Promise<readonly string[]>;
  /** The lines of standard input, one for each call; null at the end. */
  readonly readLines: () => () => Promise<string | null>;
  /** Calls `handler` for each such signal until the returned function is called. */
  readonly onSignal: (signal: StopSignal, handler: () => void) => () => void;
}

/** A connection between the data plane and the standard streams. */
export interface StandardPipe {
  /** The data plane's end. */
  readonly fd: number;
  /** Moves bytes until the data plane has closed its end and all that it said is written. */
  readonly join: () => Promise<void>;
}

/** A role, what was configured, and what was loaded for it. Settings and material can be cloned to another isolate. */
export type RoleStart =
  | { readonly settings: ServerSettings; readonly material: RoleMaterial; readonly log: Log }
  | { readonly settings: ConnectorSettings; readonly material: RoleMaterial; readonly log: Log }
  | { readonly settings: AgentSettings; readonly material: RoleMaterial; readonly log: Log; readonly connect?: ConnectPlan };

/** A running role. */
export interface RoleHandle {
  /** Resolves after a graceful end; rejects with the error that ended the role. */
  readonly finished: Promise<void>;
  /** Ends gracefully, within the role's drain time. More calls change nothing. */
  readonly stop: () => void;
  /** Ends at once. `finished` settles. */
  readonly abort: () => void;
  /** Its data plane, to be looked at and told things. */
  readonly host: Pick<RoleHost, "addresses" | "metrics" | "served" | "status" | "disconnect" | "deny">;
  /** Goes over to what may change while it runs. Rejects when it is refused: nothing has changed then. */
  readonly reload: (start: RoleStart) => Promise<void>;
}
