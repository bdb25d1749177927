/**
 * What of the plan may change while the server runs: whom it trusts, what a client may do, the keys of its tokens. A reload
 * replaces all of it at once, or nothing when the engine refuses the material.
 */
import { messageOf } from "../../base/mod.ts";
import type { AuthorizeOptions } from "../../core/auth/mod.ts";
import {
  type AcceptOptions,
  type AcceptPolicy,
  type CongestionControl,
  type EngineProfile,
  RetryTokens,
} from "../../core/quic/mod.ts";
import { FLOW_LIMITS, type FlowLimits, REGISTRY_LIMITS, type RegistryLimits } from "../../core/registry/mod.ts";
import { SIGNAL_LIMITS, type SignalLimits } from "../../core/signal/mod.ts";
import type { Plane, RetryKeyPlan, ServerPlan } from "../control/mod.ts";
import { HANDSHAKE_MS, RESETS_PER_SECOND_MAX, RETRIES_PER_SECOND_MAX } from "./limits.ts";
import { congestionControlOf, createServerProfile } from "./profile.ts";

const KEY_BYTES = 32;

export class ServerRules {
  profile: EngineProfile;
  requiresCertificate: boolean;
  authorization: AuthorizeOptions;
  /** Public keys of those whose registration tokens count. */
  tokenIssuers: readonly Uint8Array[];
  readonly resetKey: Uint8Array;
  readonly congestionControl: CongestionControl;
  /** Candidates on this machine itself make sense only where nobody else is. */
  readonly allowLoopback: boolean;
  readonly #plane: Plane;
  readonly #ownKey: RetryKeyPlan;
  readonly #tokens: RetryTokens;
  #isRetryOn: boolean;

  /** Throws a PosternError when the material does not fit together. */
  constructor(plane: Plane, plan: ServerPlan) {
    this.#plane = plane;
    this.profile = createServerProfile(plane, plan);
    this.requiresCertificate = plan.requireClientCert;
    this.authorization = authorizationOf(plan);
    this.tokenIssuers = plan.tokenIssuers;
    this.congestionControl = congestionControlOf(plan);
    this.resetKey = plan.resetKey ?? this.#randomKey();
    this.allowLoopback = plan.binds.every(({ address }) => address.startsWith("127.") || address === "::1");
    this.#ownKey = { id: 0, key: this.#randomKey() };
    this.#tokens = new RetryTokens(this.#retryKeys(plan), plane.platform.entropy);
    this.#isRetryOn = plan.retryKeys !== null;
  }

  /** How the endpoint takes connections in, one of `workers` that share what strangers may cost. */
  acceptOptions(policy: AcceptPolicy, workers: number): AcceptOptions {
    const tokens = () => this.#isRetryOn ? this.#tokens : null;
    return {
      policy,
      get retry() {
        return tokens();
      },
      epochMs: this.#plane.platform.wallClockMs,
      handshakeMs: HANDSHAKE_MS,
      retriesPerSecondMax: Math.ceil(RETRIES_PER_SECOND_MAX / workers),
      resetsPerSecondMax: Math.ceil(RESETS_PER_SECOND_MAX / workers),
    };
  }

  /** Goes over to another plan. Returns why not, if the engine refuses it: then nothing has changed. */
  replace(plan: ServerPlan): string | null {
    let profile: EngineProfile;
    try {
      profile = createServerProfile(this.#plane, plan);
    } catch (error) {
      return messageOf(error);
    }
    this.profile.free();
    this.profile = profile;
    this.requiresCertificate = plan.requireClientCert;
    this.authorization = authorizationOf(plan);
    this.tokenIssuers = plan.tokenIssuers;
    this.#tokens.setKeys(this.#retryKeys(plan));
    this.#isRetryOn = plan.retryKeys !== null;
    return null;
  }

  #retryKeys({ retryKeys }: ServerPlan) {
    const keys = retryKeys === null || retryKeys.length === 0 ? [this.#ownKey] : retryKeys;
    return keys.map(({ id, key }) => ({ id, aead: this.#plane.platform.crypto.aes256Gcm(key) }));
  }

  #randomKey(): Uint8Array {
    const key = new Uint8Array(KEY_BYTES);
    this.#plane.platform.entropy(key);
    return key;
  }
}

/** The registry's bounds with those that an operator sets. */
export function registryLimits(plan: ServerPlan): RegistryLimits {
  const { connection, source, identity } = plan.limits.services;
  return { ...REGISTRY_LIMITS, servicesPerPeerMax: connection, servicesPerSourceMax: source, servicesPerIdentityMax: identity };
}

/** The flow table's, likewise. */
export function flowLimits(plan: ServerPlan): FlowLimits {
  const { connection, identity, anonymous } = plan.limits.flows;
  return { ...FLOW_LIMITS, flowsPerAgentMax: connection, flowsPerIdentityMax: identity, flowsAnonymousMax: anonymous };
}

/** Those of signalling, likewise. */
export function signalLimits(plan: ServerPlan): SignalLimits {
  const { connection, identity } = plan.limits.sessions;
  return { ...SIGNAL_LIMITS, sessionsPerAgentMax: connection, sessionsPerIdentityMax: identity };
}

function authorizationOf(plan: ServerPlan): AuthorizeOptions {
  return { allowLegacyCerts: plan.allowLegacyCerts, anonymous: new Set(plan.allowAnonymous) };
}
