/** The addresses of this machine, in the control plane only. */
import { networkInterfaces } from "node:os";

/** Those by which other machines may reach it, of one family. Empty when the system does not tell. */
export function localAddresses(family: "ipv4" | "ipv6"): string[] {
  try {
    return Object.values(networkInterfaces()).flat().flatMap((address) => {
      if (address === undefined || address.internal) return [];
      return address.family.toLowerCase() === family ? [address.address] : [];
    });
  } catch {
    return [];
  }
}
