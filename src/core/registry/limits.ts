/** The bounds of this folder. All are ours, none is the wire's. */

export const REGISTRY_LIMITS = {
  /** Connections that may hold a registration. */
  peersMax: 65_536,
  servicesPerPeerMax: 64,
  /** Registrations of all connections from one source, and of all of one identity. */
  servicesPerSourceMax: 8_192,
  servicesPerIdentityMax: 4_096,
  servicesMax: 16_384,
  connectorsPerServiceMax: 64,
  /** Connections of one identity may take a service from each other this often in the window; then the older one stays. */
  replacementsMax: 3,
  replacementWindowMs: 60_000,
} as const;

export type RegistryLimits = { readonly [K in keyof typeof REGISTRY_LIMITS]: number };
