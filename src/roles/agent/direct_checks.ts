/**
 * Whether direct connections that stand may go on after the authorities were read anew: each connector is dialled once more, with what
 * is trusted now, and shows its certificate again. Only who shows the one that the connection was made with, and passes, keeps it.
 */
import { type SocketAddress, Timer } from "../../base/mod.ts";
import type { Connection, Ending, EndpointHandler } from "../../core/quic/mod.ts";
import { CloseCode } from "../../core/wire/mod.ts";
import type { Plane } from "../control/mod.ts";
import { DIRECT_DIAL_MS } from "./limits.ts";

export interface DirectChecksOptions {
  readonly plane: Plane;
  readonly dial: (address: SocketAddress, owner: EndpointHandler) => Connection | null;
  /** The connection may not go on, for this reason. */
  readonly onRefused: (connection: Connection, why: string) => void;
}

interface Check {
  /** Null once it was judged. */
  connection: Connection | null;
  readonly timer: Timer;
}

export class DirectChecks implements EndpointHandler {
  readonly #options: DirectChecksOptions;
  /** By the connection that was dialled for it. */
  readonly #checks = new Map<Connection, Check>();

  constructor(options: DirectChecksOptions) {
    this.#options = options;
  }

  /** Looks whether the connection, to this address, may go on. */
  begin(connection: Connection, address: SocketAddress, nowMs: number): void {
    const { plane, dial, onRefused } = this.#options;
    const dialled = dial(address, this);
    if (dialled === null) return onRefused(connection, "its certificate could not be looked at again");
    const timer = new Timer(() => dialled.close(CloseCode.shuttingDown, "no answer in time"));
    this.#checks.set(dialled, { connection, timer });
    plane.platform.reactor.setTimer(timer, nowMs + DIRECT_DIAL_MS);
  }

  /** What is trusted now vouches for the certificate that it shows. */
  onEstablished(dialled: Connection): void {
    const connection = this.#judged(dialled);
    if (connection === null) return;
    const before = connection.engine.peerCertificate(), now = dialled.engine.peerCertificate();
    if (now !== null && before?.fingerprint === now.fingerprint) return;
    this.#options.onRefused(connection, "its connector has another certificate now");
  }

  /** The connector's first word: the handshake is over for it too. */
  onDatagram(dialled: Connection): void {
    dialled.close(CloseCode.shuttingDown, "seen");
  }

  onClosed(dialled: Connection, ending: Ending): void {
    const connection = this.#judged(dialled);
    const timer = this.#checks.get(dialled)?.timer;
    this.#checks.delete(dialled);
    if (timer !== undefined) this.#options.plane.platform.reactor.cancelTimer(timer);
    if (connection === null) return;
    const why = dialled.engine.verifyError()?.reason ?? ending.info?.reason ?? "no answer";
    this.#options.onRefused(connection, `its certificate does not pass any more: ${why}`);
  }

  onReadable(): void {
    // Nothing that it could say is of interest.
  }

  onWritable(): void {
    // We have nothing to say.
  }

  /** The connection that is to be judged now; null when that was done before, or it is over. */
  #judged(dialled: Connection): Connection | null {
    const check = this.#checks.get(dialled);
    const connection = check?.connection ?? null;
    if (check !== undefined) check.connection = null;
    return connection?.isOver === true ? null : connection;
  }
}
