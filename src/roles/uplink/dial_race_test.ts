/** One dial of a server with several addresses, with connections that do what the test says. */
import { assertEquals } from "@std/assert";
import { Timer } from "../../base/mod.ts";
import type { Connection, Ending } from "../../core/quic/mod.ts";
import { DialRace, raceOrder } from "./dial_race.ts";
import { DIAL_ADDRESSES_MAX, NEXT_ADDRESS_MS } from "./limits.ts";
import { noAnswer, type UplinkTrouble } from "./uplink_trouble.ts";

const REFUSED: Ending = { by: "refused", info: { isApplication: false, code: 0x130, reason: "" } };

/** A race over these addresses; what it does stands in `seen`. */
class Track {
  readonly seen: string[] = [];
  readonly race: DialRace;
  readonly #connections = new Map<string, Connection>();
  #timer: { readonly timer: Timer; readonly atMs: number } | null = null;
  #nowMs = 0;

  constructor(addresses: readonly string[], options: { unreachable?: readonly string[]; unwanted?: readonly string[] } = {}) {
    const { unreachable = [], unwanted = [] } = options;
    const trouble = (code: string, address: string): UplinkTrouble => ({
      code,
      message: `${code} ${address}`,
      hint: "",
      isFinal: true,
    });
    this.race = new DialRace({
      timers: {
        nowMs: 0,
        setTimer: (timer, atMs) => void (this.#timer = { timer, atMs }),
        cancelTimer: () => void (this.#timer = null),
      },
      addresses,
      connect: (address) => unreachable.includes(address) ? null : this.#connect(address),
      judge: (_, address) => unwanted.includes(address) ? trouble("server-not-pinned", address) : null,
      explain: (_connection, _ending, address) => trouble("refused", address),
      silent: (address) => noAnswer(address, 10_000),
      onWon: (_, address) => void this.seen.push(`won ${address}`),
      onLost: ({ code, isFinal }) => void this.seen.push(`lost ${code}${isFinal ? " for good" : ""}`),
    });
    this.race.start(0);
  }

  established(address: string): void {
    this.race.onEstablished(this.#at(address), this.#nowMs);
  }

  refused(address: string): void {
    this.race.onClosed(this.#at(address), REFUSED, this.#nowMs);
  }

  /** Lets this time pass. */
  pass(ms: number): void {
    this.#nowMs += ms;
    const due = this.#timer;
    if (due === null || due.atMs > this.#nowMs) return;
    this.#timer = null;
    due.timer.fire(this.#nowMs);
  }

  #connect(address: string): Connection {
    this.seen.push(`try ${address}`);
    const connection = { close: () => void this.seen.push(`close ${address}`) } as unknown as Connection;
    this.#connections.set(address, connection);
    return connection;
  }

  #at(address: string): Connection {
    const connection = this.#connections.get(address);
    if (connection === undefined) throw new Error(`${address} was not tried`);
    return connection;
  }
}

Deno.test("families take turns, beginning with the first address's; of many one dial takes a share, the next one others", () => {
  const six = ["2001:db8::1", "2001:db8::2", "192.0.2.1", "2001:db8::3", "192.0.2.2", "192.0.2.3"];
  assertEquals(raceOrder(six, 0), ["2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2", "2001:db8::3", "192.0.2.3"]);
  assertEquals(raceOrder(["192.0.2.1", "192.0.2.2", "2001:db8::1"], 3), ["192.0.2.1", "2001:db8::1", "192.0.2.2"]);
  assertEquals(raceOrder([], 0), []);
  const many = Array.from({ length: 9 }, (_, i) => `192.0.2.${i}`);
  assertEquals(raceOrder(many, 0), many.slice(0, DIAL_ADDRESSES_MAX));
  assertEquals(raceOrder(many, 1), [...many.slice(DIAL_ADDRESSES_MAX), ...many.slice(0, 2 * DIAL_ADDRESSES_MAX - many.length)]);
});

Deno.test("the second address is tried when the first says nothing for a while; whichever is done first wins", () => {
  const track = new Track(["::1", "127.0.0.1"]);
  assertEquals(track.seen, ["try ::1"]);
  track.pass(NEXT_ADDRESS_MS - 1);
  assertEquals(track.seen, ["try ::1"]);
  track.pass(1);
  assertEquals(track.seen, ["try ::1", "try 127.0.0.1"]);
  track.established("::1");
  assertEquals(track.seen.slice(2), ["close 127.0.0.1", "won ::1"]);
  // What the loser says then concerns nobody.
  track.established("127.0.0.1");
  track.refused("127.0.0.1");
  track.pass(10_000);
  assertEquals(track.seen.length, 4);
});

Deno.test("a failure brings the next address at once; what has no way at all is passed over", () => {
  const track = new Track(["::1", "192.0.2.1", "::2", "192.0.2.2"], { unreachable: ["192.0.2.1"] });
  track.refused("::1");
  assertEquals(track.seen, ["try ::1", "try ::2"]);
  track.pass(NEXT_ADDRESS_MS);
  track.established("192.0.2.2");
  assertEquals(track.seen.slice(2), ["try 192.0.2.2", "close ::2", "won 192.0.2.2"]);
});

Deno.test("a server that is not the one that is wanted never wins, however quick it is", () => {
  const track = new Track(["::1", "127.0.0.1"], { unwanted: ["::1"] });
  track.established("::1");
  assertEquals(track.seen, ["try ::1", "close ::1", "try 127.0.0.1"]);
  track.established("127.0.0.1");
  assertEquals(track.seen.slice(3), ["won 127.0.0.1"]);
});

Deno.test("it is lost when every address has failed, and for good only when every one was", () => {
  const track = new Track(["::1", "127.0.0.1"]);
  track.refused("::1");
  track.refused("127.0.0.1");
  assertEquals(track.seen.slice(2), ["lost refused for good"]);
  assertEquals(new Track([]).seen, ["lost no-answer"]);
  const mixed = new Track(["::1", "127.0.0.1"], { unreachable: ["127.0.0.1"] });
  mixed.refused("::1");
  assertEquals(mixed.seen, ["try ::1", "lost refused"]);
});

Deno.test("a race that is given up closes what runs, and says what came of it", () => {
  const track = new Track(["::1", "127.0.0.1"]);
  track.pass(NEXT_ADDRESS_MS);
  assertEquals(track.race.cancel("no answer in time").code, "no-answer");
  assertEquals(track.seen.slice(2), ["close ::1", "close 127.0.0.1"]);
});
