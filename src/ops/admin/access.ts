/** Who may use the admin socket at all, by what the kernel says about the caller. Pure; deny is the default. */
import type { PeerCredentials } from "../../io/http/mod.ts";

export interface AdminAccess {
  /** The user that this process runs as. */
  readonly ownUid: number;
  readonly uids: readonly number[];
  readonly gids: readonly number[];
}

const ROOT = 0;

/** Root could read this process's memory anyway, so turning it away would protect nothing. */
export function mayCall(access: AdminAccess, caller: PeerCredentials): boolean {
  if (caller.uid === access.ownUid || caller.uid === ROOT || access.uids.includes(caller.uid)) return true;
  return access.gids.some((gid) => gid === caller.gid || caller.groups.includes(gid));
}
