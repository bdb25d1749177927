/** The settings that every process of ours has, whatever its role: its name, its log, how it is seen and steered, service ids. */

import * as z from "zod";
import { finishOps, type OpsSettings, opsSettings } from "./ops.ts";
import { onOff, type Role, type SettingTable, type SettingValues, word } from "./setting.ts";
import { instanceName, logFormat, logLevel, numberFromText } from "./value.ts";

/** How a connection finds out what its path takes. */
export type CongestionControl = "cubic" | "bbr2";
export type LogFormat = "auto" | "json" | "text";

/** What every role knows about itself. */
export interface CommonSettings {
  readonly name: string;
  /** A level or a filter; null when nobody chose one. */
  readonly logLevel: string | null;
  readonly logFormat: LogFormat;
  /** Service ids as earlier ztna-v1 peers take them. */
  readonly allowLegacyServiceIds: boolean;
  /** How often a connection gets a new connection ID of ours. */
  readonly cidRotationMs: number;
  readonly congestionControl: CongestionControl;
  /** Metrics, admin socket, alerts, log file. */
  readonly ops: OpsSettings;
}

const ROTATION_SECONDS = { fallback: 300, max: 86_400 } as const;

/** Settings of every role. */
export function commonSettings(role: Role) {
  return {
    allow_legacy_service_ids: onOff(false, {
      summary: "Also take service ids of up to 255 bytes with upper case and other characters",
    }),
    cid_rotation_secs: word<number>("SECONDS", ROTATION_SECONDS.fallback, {
      schema: z.int({ error: "must be a whole number of seconds" }).min(1, { error: "must be at least 1" }).max(
        ROTATION_SECONDS.max,
        {
          error: `must be at most ${ROTATION_SECONDS.max}`,
        },
      ),
      fromText: numberFromText,
      summary: "How often each connection gets a new connection ID, so that it cannot be followed by it",
    }),
    congestion_control: word<CongestionControl>("NAME", "cubic", {
      schema: z.enum(["cubic", "bbr2"], { error: "must be cubic or bbr2" }),
      summary: "How what this process sends finds out what a path takes: cubic by losses, bbr2 by the rate at which it arrives",
    }),
    name: word("NAME", role as string, { schema: instanceName, summary: "What this process calls itself in logs and pages" }),
    log_level: word<string | null>("LEVEL", null, {
      schema: logLevel,
      example: "info",
      summary: "trace, debug, info, warn, error, fatal or off; modules apart: info,uplink=debug",
      variableAliases: ["POSTERN_LOG", "RUST_LOG"],
    }),
    log_format: word<LogFormat>("FORMAT", "auto", {
      schema: logFormat,
      summary: "json, text, or auto: text on a terminal and JSON lines elsewhere",
    }),
    ...opsSettings(),
  } satisfies SettingTable;
}

type CommonTable = ReturnType<typeof commonSettings>;

/** The common part of a role's settings object. */
export function finishCommon(values: SettingValues<CommonTable>): CommonSettings {
  return {
    name: values.name,
    logLevel: values.log_level,
    logFormat: values.log_format,
    allowLegacyServiceIds: values.allow_legacy_service_ids,
    cidRotationMs: values.cid_rotation_secs * 1_000,
    congestionControl: values.congestion_control,
    ops: finishOps(values),
  };
}
