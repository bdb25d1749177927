/**
 * Tells when the network of this machine has changed: a link went down or up, an address or a route came or went. The kernel says so by
 * netlink (rtnetlink(7)); what exactly it was is not read. Changes come in bursts and on some machines without end, so one is told when
 * the burst has settled, and no two within {@linkcode CHANGE_INTERVAL_MS}.
 */
import { Timer } from "../base/mod.ts";
import type { ArenaLayout } from "./arena.ts";
import { EPOLLIN, type EventSource, type Reactor } from "./reactor.ts";

const AF_NETLINK = 16, SOCK_RAW = 3, ENOBUFS = 105;
/** struct sockaddr_nl: u16 family, u16 padding, u32 port, u32 groups. */
const SOCKADDR_NL = { family: 0, port: 4, groups: 8, bytes: 12 };
/** RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_IFADDR, RTMGRP_IPV6_ROUTE. */
const GROUPS = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;
/** Only that there is a message counts: what does not fit is cut off. */
const MESSAGE_BYTES = 256;
const READS_PER_TURN = 256;

/** After the first sign of a change; and from one change that is told to the next. */
export const CHANGE_SETTLE_MS = 100;
export const CHANGE_INTERVAL_MS = 1_000;

export class NetworkWatch implements EventSource {
  readonly #reactor: Reactor;
  readonly #at: number;
  readonly #onChange: (nowMs: number) => void;
  readonly #timer = new Timer((nowMs) => this.#tell(nowMs));
  #fd: number;
  #token = -1;
  #isTelling = false;
  #toldMs = -Infinity;

  /** Where there is no netlink it tells nothing; see {@linkcode isWatching}. */
  constructor(reactor: Reactor, layout: ArenaLayout, onChange: (nowMs: number) => void) {
    this.#reactor = reactor;
    this.#onChange = onChange;
    this.#at = layout.reserve(MESSAGE_BYTES);
    this.#fd = reactor.libc.socket(AF_NETLINK, SOCK_RAW);
    if (this.#fd < 0) return;
    const { view } = layout.arena;
    view.setUint32(this.#at + SOCKADDR_NL.family, AF_NETLINK, true);
    view.setUint32(this.#at + SOCKADDR_NL.port, 0, true);
    view.setUint32(this.#at + SOCKADDR_NL.groups, GROUPS, true);
    const isBound = reactor.libc.bind(this.#fd, this.#at, SOCKADDR_NL.bytes) >= 0;
    if (isBound) this.#token = reactor.add(this.#fd, EPOLLIN, this);
    if (this.#token < 0) this.close();
  }

  get isWatching(): boolean {
    return this.#fd >= 0;
  }

  onEvents(_events: number, nowMs: number): void {
    for (let i = 0; i < READS_PER_TURN; i++) {
      const length = this.#reactor.libc.recv(this.#fd, this.#at, MESSAGE_BYTES);
      // More changed than the kernel could keep for us: that is a change too.
      if (length < 0 && length !== -ENOBUFS) return;
      if (this.#isTelling) continue;
      this.#isTelling = true;
      this.#reactor.setTimer(this.#timer, Math.max(nowMs + CHANGE_SETTLE_MS, this.#toldMs + CHANGE_INTERVAL_MS));
    }
  }

  close(): void {
    if (this.#fd < 0) return;
    this.#reactor.cancelTimer(this.#timer);
    if (this.#token >= 0) this.#reactor.remove(this.#fd, this.#token);
    this.#reactor.libc.close(this.#fd);
    this.#fd = -1;
  }

  #tell(nowMs: number): void {
    this.#isTelling = false;
    this.#toldMs = nowMs;
    this.#onChange(nowMs);
  }
}
