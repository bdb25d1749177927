/**
 * What an operator types to see and steer a running role: each file is one command, a descriptor with its options and what it does. All
 * of them speak to the admin socket through `admin_client.ts`; `page.ts` and `layout.ts` make text for a person. The command line mounts
 * {@linkcode OPS_COMMANDS}; loading this folder costs nothing until one of them runs.
 */
import { adminTokenCommand } from "./admin_token.ts";
import type { OpsCommand } from "./command.ts";
import { denyCommand, disconnectCommand, drainCommand, reloadCommand } from "./steer.ts";
import { eventsCommand } from "./events.ts";
import { flowsCommand } from "./flows.ts";
import { healthCommand } from "./health.ts";
import { logLevelCommand } from "./log_level.ts";
import { peersCommand } from "./peers.ts";
import { statusCommand } from "./status.ts";

export type { CommandInput, CommandOption, CommandPlatform, OpsCommand } from "./command.ts";

/** In the order of the help. */
export const OPS_COMMANDS: readonly OpsCommand[] = [
  statusCommand,
  healthCommand,
  peersCommand,
  flowsCommand,
  eventsCommand,
  logLevelCommand,
  reloadCommand,
  drainCommand,
  disconnectCommand,
  denyCommand,
  adminTokenCommand,
];
