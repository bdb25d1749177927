/**
 * Why a client could not connect, in words for a person: which end refused, what was expected, what came, what to do.
 */
import { PIN_HINT } from "../../base/mod.ts";
import type { CloseInfo, Connection, Ending } from "../../core/quic/mod.ts";
import type { ServerTarget } from "../control/mod.ts";
import { DIAL_TIMEOUT_MS } from "./limits.ts";

export interface UplinkTrouble {
  readonly code: string;
  readonly message: string;
  readonly hint: string;
  /** Trying again with the same material cannot help. */
  readonly isFinal: boolean;
}

/** TLS alerts travel as 0x100 + alert (RFC 9001 §4.8). */
const CRYPTO_ERROR = 0x100;
/** How an application's close is sent before the handshake is done (RFC 9000 §10.2.3): we closed because nothing came in time. */
const APPLICATION_ERROR = 0x0c;
const ALERTS: Readonly<Record<number, string>> = {
  40: "the handshake failed",
  42: "our certificate is not usable",
  43: "our certificate is of a kind that it does not take (extended key usage clientAuth is missing)",
  44: "our certificate is revoked",
  45: "our certificate is expired or its revocation list is",
  46: "our certificate is not acceptable",
  48: "our certificate is signed by an authority that it does not trust",
  116: "it wants a client certificate",
  120: "it speaks none of our protocols",
};

/** What of the plan is in the words. */
type TroublePlan = Pick<ServerTarget, "expectedName">;

/** Reads the ending of a connection that never came up. */
export function explainTrouble(plan: TroublePlan, connection: Connection, ending: Ending, target: string): UplinkTrouble {
  const refused = connection.engine.verifyError();
  if (refused !== null) return serverNotTrusted(plan, refused.reason, offeredNames(refused.offered), target);
  if (ending.by === "peer" && ending.info !== null) return refusedByServer(ending.info, target);
  const isOurTimeout = ending.info?.code === APPLICATION_ERROR && !ending.info.isApplication;
  if (ending.info !== null && !isOurTimeout) {
    return {
      code: "handshake-failed",
      message: `the handshake with ${target} failed: ${describe(ending.info)}`,
      hint: "check that a postern server listens there",
      isFinal: false,
    };
  }
  return noAnswer(target, DIAL_TIMEOUT_MS);
}

/** Nothing came within this time. */
export function noAnswer(target: string, withinMs: number): UplinkTrouble {
  return {
    code: "no-answer",
    message: `no answer from ${target} within ${withinMs / 1000} s`,
    hint: "check the address, that a postern server listens there, and that UDP passes both ways",
    isFinal: false,
  };
}

/** Nobody knows where the server is. */
export function noAddress(host: string): UplinkTrouble {
  return {
    code: "no-address",
    message: `the name ${host} has no address`,
    hint: "check the name and the resolver",
    isFinal: false,
  };
}

/** The server's certificate verifies, and its key is none of those that are pinned. */
export function notPinned(why: string, target: string): UplinkTrouble {
  return { code: "server-not-pinned", message: `TLS: ${target} is refused: ${why}`, hint: PIN_HINT, isFinal: true };
}

/** The server did not take our registration token. */
export function tokenRefused(why: string): UplinkTrouble {
  return {
    code: "token-refused",
    message: `the registration token did not let us in: ${why}`,
    hint: "look into the server's log for the reason, and get a new token from its issuer for the key of --token-key",
    isFinal: true,
  };
}

function serverNotTrusted(plan: TroublePlan, reason: string, offered: string, target: string): UplinkTrouble {
  const expected = plan.expectedName === null ? "" : `; expected the name ${plan.expectedName}, it offers ${offered}`;
  return {
    code: "server-not-trusted",
    message: `TLS: the certificate of ${target} is not trusted: ${reason}${expected}`,
    hint:
      "name what the certificate has with --server-name, give its authority with --ca-cert, or install a right certificate on the server",
    isFinal: true,
  };
}

function refusedByServer(info: CloseInfo, target: string): UplinkTrouble {
  const alert = info.isApplication || info.code < CRYPTO_ERROR || info.code > CRYPTO_ERROR + 0xff ? null : info.code - CRYPTO_ERROR;
  if (alert === null) {
    const isAuth = !info.isApplication && info.code === 1 || info.isApplication && (info.code === 0x101 || info.code === 0x102);
    return {
      code: "refused",
      message: `the server ${target} closed the connection: ${describe(info)}`,
      hint: isAuth ? "give a certificate that the server trusts with --client-cert and --client-key" : "look into the server's log",
      isFinal: isAuth,
    };
  }
  return {
    code: "refused",
    message: `TLS: the server ${target} refused us: ${ALERTS[alert] ?? `alert ${alert}`}`,
    hint: alert === 120 ? "update the older end" : "give a certificate that the server trusts with --client-cert and --client-key",
    isFinal: true,
  };
}

function offeredNames(offered: { readonly dnsNames: readonly string[]; readonly ipAddresses: readonly string[] } | null): string {
  const names = offered === null ? [] : [...offered.dnsNames, ...offered.ipAddresses];
  return names.length === 0 ? "none" : names.slice(0, 8).join(", ") + (names.length > 8 ? ", …" : "");
}

/** A close in words. */
export function describe(info: CloseInfo): string {
  const code = `${info.isApplication ? "application" : "transport"} code 0x${info.code.toString(16)}`;
  return info.reason === "" ? code : `${info.reason} (${code})`;
}
