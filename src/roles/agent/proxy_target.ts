/**
 * What a proxy's client may ask for: a service, by its own name or as `NAME.ztna`, or by an inner address that the configuration
 * names. Nothing else is ever looked up or dialled: a name with a dot that does not end in `.ztna` belongs to the network outside.
 */
import { parseServiceId } from "../../base/mod.ts";
import type { AddressPlan } from "./services.ts";

const ZONE = ".ztna";

export interface TargetRules {
  readonly addresses: readonly AddressPlan[];
  readonly allowLegacyServiceIds: boolean;
}

/** The service that `host` means, or null: refuse it. */
export function serviceOfHost(host: string, rules: TargetRules): string | null {
  const planned = rules.addresses.find(({ address }) => address === host);
  if (planned !== undefined) return planned.service;
  // Names are compared without regard to case (RFC 4343), and the last dot says only that nothing follows.
  const name = host.endsWith(".") ? host.slice(0, -1) : host;
  const isInZone = name.length > ZONE.length && name.toLowerCase().endsWith(ZONE);
  const bare = isInZone ? name.slice(0, -ZONE.length) : name;
  if (!isInZone && bare.includes(".") || bare.includes(":")) return null;
  for (const id of [bare.toLowerCase(), ...(rules.allowLegacyServiceIds ? [bare] : [])]) {
    const parsed = parseServiceId(id, { legacy: rules.allowLegacyServiceIds && id === bare });
    if (parsed.ok) return parsed.value;
  }
  return null;
}
