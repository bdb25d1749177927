/** What the role's own reloads are in counters and security events. Those of the metrics listener are told by itself. */
import { addToCell, type CertificateStatus, type SecurityEventInput } from "../base/mod.ts";
import type { OpsMetrics } from "./metrics/mod.ts";

/** The certificates that a role shows, by the purpose under which they are listed. */
const ROTATIONS = { identity: "rotationsIdentity", p2p: "rotationsP2p" } as const;
type RolePurpose = keyof typeof ROTATIONS;
const PURPOSES = Object.keys(ROTATIONS) as RolePurpose[];

export interface RoleReloadsOptions {
  /** As they are in use now. */
  readonly certificates: () => readonly CertificateStatus[];
  readonly counters: OpsMetrics;
  readonly record: (event: SecurityEventInput) => void;
}

export class RoleReloads {
  readonly #options: RoleReloadsOptions;
  #shown: ReadonlyMap<RolePurpose, CertificateStatus>;

  constructor(options: RoleReloadsOptions) {
    this.#options = options;
    this.#shown = this.#look();
  }

  /** The role has read its files anew: `error` says why they were refused, "" that they hold. */
  note(error: string): void {
    const { counters, record } = this.#options;
    const { index } = counters;
    if (error !== "") {
      addToCell(counters, index.reloadFailures);
      addToCell(counters, index.rotationFailuresIdentity);
      return record({ event_type: "certificate_reload_failed", details: { purpose: "identity", error } });
    }
    addToCell(counters, index.reloads);
    const before = this.#shown;
    this.#shown = this.#look();
    for (const [purpose, { subject, serial, ...certificate }] of this.#shown) {
      const old = before.get(purpose);
      const isAnother = old === undefined || old.serial !== serial || old.issuer !== certificate.issuer ||
        old.notAfterMs !== certificate.notAfterMs;
      if (isAnother) addToCell(counters, index[ROTATIONS[purpose]]);
      record({ event_type: "certificate_reloaded", details: { purpose, subject, serial } });
    }
  }

  #look(): ReadonlyMap<RolePurpose, CertificateStatus> {
    const certificates = this.#options.certificates();
    return new Map(PURPOSES.flatMap((purpose) => {
      const shown = certificates.find((certificate) => certificate.purpose === purpose);
      return shown === undefined ? [] : [[purpose, shown] as const];
    }));
  }
}
