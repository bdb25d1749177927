/** Where admin sockets lie: for a role that makes one, and for a command that looks for them. */
import type { RoleName } from "../base/mod.ts";

const SYSTEM_FOLDER = "/run/postern";
const ROLES: readonly RoleName[] = ["server", "connector", "agent"];

/** The folders in which sockets are looked for, best first. */
function folders(environment: (name: string) => string | undefined): string[] {
  const own = environment("XDG_RUNTIME_DIR") ?? "";
  return own.startsWith("/") ? [`${own}/postern`, SYSTEM_FOLDER] : [SYSTEM_FOLDER];
}

/** The default places for a role's socket, best first: the next is tried when one cannot be written. */
export function adminSocketPaths(role: RoleName, environment: (name: string) => string | undefined): string[] {
  return folders(environment).map((folder) => `${folder}/${role}.sock`);
}

export interface FoundSocket {
  readonly role: RoleName;
  readonly path: string;
}

/** The sockets at the default places that exist, whether or not anybody answers. */
export function findAdminSockets(environment: (name: string) => string | undefined): FoundSocket[] {
  const found: FoundSocket[] = [];
  for (const folder of folders(environment)) {
    for (const role of ROLES) {
      const path = `${folder}/${role}.sock`;
      if (isSocket(path)) found.push({ role, path });
    }
  }
  return found;
}

function isSocket(path: string): boolean {
  try {
    return Deno.lstatSync(path).isSocket === true;
  } catch {
    return false;
  }
}
