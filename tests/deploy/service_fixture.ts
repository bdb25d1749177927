/**
 * A stand-in for the service manager: starts a role by the command line of its unit, with its variables and credentials, under the
 * limits of the kernel that the unit sets as far as they can be set here, and hears what the role tells it.
 */
import { join } from "node:path";
import { datagramSocket } from "../e2e/ops_fixture.ts";
import { BINARY, type ProcessEnd, RoleProcess, runPostern } from "../e2e/processes_fixture.ts";
import { sleep } from "../e2e/tcp_fixture.ts";
import { missing } from "../../tools/needs.ts";
import { readUnit, ROOT, type Unit, UNITS, values } from "./unit_fixture.ts";

const WAIT_MS = 60_000;
/** Debian's package python3-seccomp belongs to Debian's Python. */
const PYTHON = "/usr/bin/python3";
const SECCOMP = `/usr/lib/python3/dist-packages/seccomp.cpython-311-${Deno.build.arch}-linux-gnu.so`;

export interface ServiceOptions {
  /** Stands for the root of the file system: its `etc/postern`, `run` and `var/lib/postern` are those of the service. */
  readonly root: string;
  /** Wins over the unit's variables and its file of variables. */
  readonly env: Readonly<Record<string, string>>;
  /** A file below the unit's folder of drop-ins. */
  readonly dropIn?: string;
  /** The permissions of credentials; default 0440, as the manager's access list makes them look. */
  readonly credentialMode?: number;
}

export class Service implements AsyncDisposable {
  readonly process: RoleProcess;
  readonly #manager: ReturnType<typeof datagramSocket>;
  /** The messages so far, and those of them that nobody has asked for. */
  readonly #heard: string[] = [];
  #asked = 0;
  readonly #listening: Promise<void>;
  readonly #root: string;
  readonly #unit: Unit;

  constructor(role: string, options: ServiceOptions) {
    const name = `postern-${role}.service`;
    const unit = readUnit(join(UNITS, name));
    const dropIn = options.dropIn === undefined ? null : readUnit(join(UNITS, `${name}.d`, options.dropIn));
    this.#root = options.root;
    this.#unit = unit;
    const runtime = join(options.root, "run", role);
    Deno.mkdirSync(runtime, { recursive: true });
    const credentials = join(runtime, "credentials");
    this.#loadCredentials(settingOf(unit, dropIn, "Service.LoadCredential"), credentials, options.credentialMode ?? 0o440);
    const socket = join(runtime, "notify");
    this.#manager = datagramSocket(socket);
    this.#listening = this.#listen();
    const [program, ...args] = words(settingOf(unit, dropIn, "Service.ExecStart")[0] ?? "", {
      CREDENTIALS_DIRECTORY: credentials,
    });
    if (program !== "/usr/local/bin/postern") throw new Error(`${name} starts ${program}`);
    const env = {
      ...variables(values(unit, "Service.Environment")),
      ...this.#variableFiles(),
      ...options.env,
      CREDENTIALS_DIRECTORY: credentials,
      NOTIFY_SOCKET: socket,
      WATCHDOG_USEC: "1000000",
      XDG_RUNTIME_DIR: runtime,
    };
    this.process = new RoleProcess(args.map((word) => this.#inRoot(word)), options.root, this.#allInRoot(env), limits(unit));
  }

  /** The next message, behind the one that was told last, that begins so. */
  async told(beginning: string): Promise<string> {
    const deadline = performance.now() + WAIT_MS;
    for (;;) {
      const message = this.#heard[this.#asked];
      if (message !== undefined) {
        this.#asked++;
        if (message.startsWith(beginning)) return message;
      } else if (performance.now() > deadline) {
        throw new Error(`nobody said ${beginning}: ${JSON.stringify(this.#heard)}\n${this.process.tail()}`);
      } else await sleep(20);
    }
  }

  /** Runs what the unit has for a reload. Its first line, which looks at files, has tests of its own. */
  async reload(): Promise<ProcessEnd> {
    const command = values(this.#unit, "Service.ExecReload").map((line) => words(line, {})).find(([program]) =>
      program === "/usr/local/bin/postern"
    );
    if (command === undefined) throw new Error("the unit has no command for a reload");
    return await runPostern(command.slice(1), this.#root, { XDG_RUNTIME_DIR: this.process.runtimeFolder });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.process[Symbol.asyncDispose]();
    this.#manager.close();
    await this.#listening;
  }

  /** Takes messages as they come: the kernel keeps only few of them. */
  async #listen(): Promise<void> {
    try {
      for (;;) this.#heard.push(await this.#manager.next());
    } catch {
      // It was closed.
    }
  }

  #loadCredentials(lines: readonly string[], folder: string, mode: number): void {
    Deno.mkdirSync(folder, { recursive: true });
    for (const line of lines) {
      const [name = "", path = ""] = line.split(":");
      Deno.writeFileSync(join(folder, name), Deno.readFileSync(this.#inRoot(path)), { mode });
      Deno.chmodSync(join(folder, name), mode);
    }
  }

  #variableFiles(): Record<string, string> {
    const [line = ""] = values(this.#unit, "Service.EnvironmentFile");
    const file = this.#inRoot(line.replace(/^-/, ""));
    return variables(Deno.readTextFileSync(file).split("\n").filter((text) => text !== "" && !text.startsWith("#")));
  }

  #inRoot(path: string): string {
    return path.replace(/^\/(etc|var\/lib)\/postern/, (found) => this.#root + found);
  }

  #allInRoot(env: Readonly<Record<string, string>>): Record<string, string> {
    return Object.fromEntries(Object.entries(env).map(([name, value]) => [name, this.#inRoot(value)]));
  }
}

/** What a drop-in says instead of the unit, behind an empty value, or beside it. */
function settingOf(unit: Unit, dropIn: Unit | null, name: string): readonly string[] {
  const further = dropIn === null ? [] : values(dropIn, name);
  const reset = further.lastIndexOf("");
  return reset < 0 ? [...values(unit, name), ...further] : further.slice(reset + 1);
}

function words(line: string, variables: Readonly<Record<string, string>>): string[] {
  return line.split(" ").map((word) => word.replaceAll(/\$\{([A-Z_]+)\}/g, (_, name) => variables[name] ?? ""));
}

function variables(lines: readonly string[]): Record<string, string> {
  return Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]));
}

/** Why the limits of the kernel cannot be set here, or undefined when they can. */
export function lackOfLimits(): string | undefined {
  return missing({ tools: ["systemd-analyze"], files: [PYTHON, SECCOMP, BINARY] });
}

/** The command before the role's that sets them, or none where that cannot be. */
function limits(unit: Unit): string[] {
  if (lackOfLimits() !== undefined) return [];
  const filter = values(unit, "Service.SystemCallFilter").flatMap((line) =>
    line.replace(/^~/, "").split(" ").map((word) => (line.startsWith("~") ? "~" : "") + word)
  );
  const families = values(unit, "Service.RestrictAddressFamilies").flatMap((line) => line.split(" "));
  // Only root can take capabilities away for good; nobody else has any.
  const none = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"];
  const sandbox = [PYTHON, join(ROOT, "tests", "deploy", "unit_sandbox.py"), filter.join(","), families.join(",")];
  return [...Deno.uid() === 0 && missing({ tools: ["setpriv"] }) === undefined ? none : [], ...sandbox];
}
