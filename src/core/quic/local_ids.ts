/**
 * The connection IDs that we give out: made, entered in the table, issued anew from time to time, and taken out when the peer
 * has retired them (RFC 9000 §5.1). Each comes with a stateless reset token that follows from it (RFC 9000 §10.3).
 */
import { CidRotation, ROTATION_DEFAULTS, type RotationOptions } from "./cid_rotation.ts";
import { CidTable } from "./cid_table.ts";
import type { Connection } from "./connection.ts";
import type { EngineConnection } from "./engine.ts";
import type { Steering } from "./steering.ts";
import { RESET_TOKEN_BYTES, type ResetHmac, resetToken } from "./reset_token.ts";

/** IDs that a peer gets beside its first, when it allows so many: a move takes one, and one that is used is followed by another. */
const SPARES_MAX = 3;

export class LocalIds {
  readonly table: CidTable<Connection>;
  /** IDs issued by rotation. */
  rotations = 0;
  readonly #entropy: (bytes: Uint8Array) => void;
  readonly #hmac: ResetHmac | null;
  readonly #rotation: RotationOptions;
  /** Retired IDs of live connections that still stand in the table. */
  readonly #retired = new Map<Connection, Uint8Array[]>();

  /** Without `hmac` the tokens are random: nobody will be able to use them, which is right for ends that send no resets. */
  constructor(
    entropy: (bytes: Uint8Array) => void,
    hmac: ResetHmac | null,
    rotation: RotationOptions | undefined,
    steering: Steering | null = null,
  ) {
    this.table = new CidTable(entropy, steering);
    this.#entropy = entropy;
    this.#hmac = hmac;
    this.#rotation = rotation ?? ROTATION_DEFAULTS;
  }

  resetTokenOf(id: Uint8Array): Uint8Array {
    if (this.#hmac !== null) return resetToken(this.#hmac, id);
    const token = new Uint8Array(RESET_TOKEN_BYTES);
    this.#entropy(token);
    return token;
  }

  /** The rotation of a new connection whose first ID is `id`. */
  rotationOf(id: Uint8Array): CidRotation {
    return new CidRotation(this.#rotation, [id]);
  }

  /** The connection is established: gives the peer spare IDs, and plans the first rotation. Returns when it is due. */
  start(connection: Connection, nowMs: number): number {
    const { rotation } = connection;
    this.#supply(connection);
    const random = new Uint32Array(1);
    this.#entropy(new Uint8Array(random.buffer));
    rotation.start(nowMs, (random[0] as number) / 0x1_0000_0000);
    return rotation.dueMs;
  }

  /** The time of a rotation has come. Returns when the next is due. */
  rotate(connection: Connection, nowMs: number): number {
    const { engine, rotation } = connection;
    this.#forgetRetired(connection);
    this.reap(connection);
    if (rotation.isDue(nowMs)) {
      const id = this.#issue(engine);
      if (id === null) rotation.refused(nowMs);
      else {
        rotation.issued(id, nowMs);
        this.table.enter(id, connection);
        this.rotations++;
        connection.touch();
      }
    }
    // Without a place left it waits for the peer, and looks again an interval later.
    return Math.min(rotation.dueMs, nowMs + this.#rotation.intervalMs);
  }

  /**
   * Takes the IDs out that the peer has retired, and gives it others for them (RFC 9000 §5.1.1). Called before a packet with another ID than the last one is believed: the engine
   * ends a connection over an authentic packet that carries a retired ID, and packets overtake each other.
   */
  reap(connection: Connection): void {
    const ids = connection.engine.retiredSourceIds();
    if (ids.length === 0) return;
    for (const id of ids) {
      if (!connection.rotation.retired(id)) continue;
      this.table.retire(id);
      const known = this.#retired.get(connection);
      if (known === undefined) this.#retired.set(connection, [id]);
      else known.push(id);
    }
    this.#supply(connection);
  }

  /** The connection is gone. */
  release(connection: Connection): void {
    this.#forgetRetired(connection);
    for (const id of connection.rotation.stop()) this.table.remove(id);
  }

  // An interval later no packet with a retired ID is under way any more.
  #forgetRetired(connection: Connection): void {
    const retired = this.#retired.get(connection);
    if (retired === undefined) return;
    for (const id of retired) this.table.remove(id);
    this.#retired.delete(connection);
  }

  /** Gives the peer as many spare IDs as it takes. */
  #supply(connection: Connection): void {
    const { engine, rotation } = connection;
    const spares = Math.min(engine.sourceIdsLeft(), SPARES_MAX);
    for (let i = 0; i < spares && rotation.hasRoom; i++) {
      const id = this.#issue(engine);
      if (id === null) break;
      rotation.addSpare(id);
      this.table.enter(id, connection);
    }
  }

  #issue(engine: EngineConnection): Uint8Array | null {
    const id = this.table.issue();
    return engine.newSourceId(id, this.resetTokenOf(id)) < 0 ? null : id;
  }
}
