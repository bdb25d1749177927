/** Finds the admin socket of a running role and asks it. A token for steering is fetched by the process that uses it, on the way. */
import { messageOf, PosternError, type RoleName, usageError } from "../../base/mod.ts";
import type { ClientResponse, HttpClient } from "../../io/http/mod.ts";
import { findAdminSockets, type FoundSocket } from "../socket_path.ts";
import { type CommandInput, type CommandPlatform, textOption } from "./command.ts";

const ROLES: readonly RoleName[] = ["server", "connector", "agent"];

/** A running role that answers. */
export interface Target {
  /** Null when the socket was named by its path. */
  readonly role: RoleName | null;
  readonly path: string;
}

/** The sockets that are meant, whether or not anybody answers there. Throws when there is none. */
export function findTargets(input: CommandInput, platform: CommandPlatform): Target[] {
  const role = textOption(input, "role");
  if (role !== undefined && !ROLES.some((known) => known === role)) {
    throw usageError(`--role ${JSON.stringify(role)} is not a role`, `roles are ${ROLES.join(", ")}`);
  }
  const variables = platform.environment();
  const path = textOption(input, "unixSocketPath") ?? variables["POSTERN_UNIX_SOCKET_PATH"];
  if (path !== undefined && path !== "") return [{ role: null, path }];
  const found: FoundSocket[] = findAdminSockets((name) => variables[name]);
  const wanted = found.filter((socket) => role === undefined || socket.role === role);
  if (wanted.length === 0) {
    throw new PosternError(role === undefined ? "no postern runs on this machine" : `no postern ${role} runs on this machine`, {
      code: "no-socket",
      hint:
        "start it, or name its admin socket with --unix-socket-path; sockets are looked for in $XDG_RUNTIME_DIR/postern and /run/postern",
    });
  }
  return wanted;
}

/** The one socket that is meant. Throws when several are there and none was picked. */
export function findTarget(input: CommandInput, platform: CommandPlatform): Target {
  const [first, ...others] = findTargets(input, platform);
  if (first === undefined || others.length > 0) {
    const roles = [first, ...others].map((target) => target?.role ?? "").join(", ");
    throw usageError(`several roles run on this machine: ${roles}`, "add --role ROLE");
  }
  return first;
}

/** A conversation with one process. */
export class AdminClient implements Disposable {
  readonly #client: HttpClient;
  readonly #path: string;

  constructor(client: HttpClient, path: string) {
    this.#client = client;
    this.#path = path;
  }

  /** Throws `not-running` when nobody answers there. */
  static async open(target: Target): Promise<AdminClient> {
    // Loaded here, so that the help of these commands is there at once.
    const { HttpClient } = await import("../../io/http/mod.ts");
    try {
      return new AdminClient(await HttpClient.connect(target.path), target.path);
    } catch (cause) {
      if (cause instanceof Deno.errors.PermissionDenied) {
        throw new PosternError(`this user may not use the admin socket ${target.path}`, {
          code: "no-access",
          hint: "run the command as the user of the process or as root; --admin-uid and --admin-gid let others in",
          cause,
        });
      }
      throw new PosternError(`nobody answers on the admin socket ${target.path}: ${messageOf(cause)}`, {
        code: "not-running",
        hint: "the process has ended or was started without an admin socket",
        cause,
      });
    }
  }

  /** The JSON of a successful answer. Throws with the words of the process otherwise. */
  async read<T>(target: string): Promise<T> {
    return parse<T>(await this.#client.request({ method: "GET", target }), this.#path);
  }

  /** The answer as it is, whatever its status: for health. */
  async raw(target: string): Promise<{ readonly status: number; readonly text: string }> {
    const { status, body } = await this.#client.request({ method: "GET", target });
    return { status, text: new TextDecoder().decode(body) };
  }

  /** As {@linkcode read}, for what changes something: with a token of this process. */
  async steer<T>(method: string, target: string, body?: unknown): Promise<T> {
    const token = await this.token("caller");
    return await this.#send<T>(method, target, body, token);
  }

  /** A token for steering: for this process, or for the first that uses it. */
  async token(bind: "caller" | "first-use"): Promise<string> {
    return (await this.#send<{ readonly token: string }>("POST", "/v1/tokens", { bind }, null)).token;
  }

  /** Hands on lines of a streamed answer until it ends. */
  async follow(target: string, onLine: (line: string) => void): Promise<void> {
    const decoder = new TextDecoder();
    let rest = "";
    const head = await this.#client.follow({ method: "GET", target }, (piece) => {
      const lines = (rest + decoder.decode(piece, { stream: true })).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) if (line !== "") onLine(line);
    });
    if (head.status !== 200) parse({ ...head, body: new TextEncoder().encode(rest) }, this.#path);
  }

  [Symbol.dispose](): void {
    this.#client[Symbol.dispose]();
  }

  async #send<T>(method: string, target: string, body: unknown, token: string | null): Promise<T> {
    const response = await this.#client.request({
      method,
      target,
      headers: {
        ...(token === null ? {} : { authorization: token }),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      ...(body === undefined ? {} : { body: new TextEncoder().encode(JSON.stringify(body)) }),
    });
    return parse<T>(response, this.#path);
  }
}

function parse<T>({ status, body }: ClientResponse, path: string): T {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder().decode(body));
  } catch (cause) {
    throw new PosternError(`the answer on ${path} is not JSON`, { code: "broken-answer", hint: "is that a postern?", cause });
  }
  if (status === 200) return json as T;
  const error =
    (json as { readonly error?: { readonly code?: unknown; readonly message?: unknown; readonly hint?: unknown } }).error;
  throw new PosternError(String(error?.message ?? `the process answered ${status}`), {
    code: String(error?.code ?? "refused"),
    ...(typeof error?.hint === "string" ? { hint: error.hint } : {}),
  });
}
