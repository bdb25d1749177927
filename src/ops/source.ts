/** What a role gives to be seen and steered by. The control side of the role fills it in; everything in `src/ops` looks only at this. */
import type {
  CertificateStatus,
  MetricSample,
  RevocationListStatus,
  RoleName,
  SettingStatus,
  StatusExtent,
  StatusSnapshot,
} from "../base/mod.ts";

/** Totals since the start, read from cells: rates are their differences. */
export interface TrafficTotals {
  readonly bytes: number;
  readonly datagrams: number;
}

/** What an operator may ask a running role to do. Each rejects with a PosternError whose words the operator sees. */
export interface Steering {
  /** Reads configuration and certificates anew. Resolves to what changed, a sentence each. */
  reload(): Promise<readonly string[]>;
  /** Takes nothing new, lets go on what runs, then ends the process. Resolves when it has begun. */
  drain(): Promise<void>;
  /** Ends one peer's connection. Resolves to whether there was such a peer. */
  disconnect(peerId: string): Promise<boolean>;
  /** Refuses a certificate from now on, by its serial (lower-case hexadecimal). Resolves to the number of connections that were ended. */
  denySerial(serial: string, reason: string): Promise<number>;
}

export interface OpsSource {
  readonly role: RoleName;
  readonly version: string;
  /** Asks the data plane; rejects or stays pending when it hangs. Has up to so many peers and flows; default: none. */
  status(extent?: StatusExtent): Promise<StatusSnapshot>;
  /** All of the role's cells. */
  metrics(): readonly MetricSample[];
  traffic(): TrafficTotals;
  /** The role's own certificates and authorities. */
  certificates(): readonly CertificateStatus[];
  revocationLists(): readonly RevocationListStatus[];
  /** Effective settings with their sources, secrets masked. */
  configuration(): readonly SettingStatus[];
  readonly steering: Steering;
}
