/**
 * A kernel in memory: processes with file descriptors, epoll in both trigger modes, eventfds. It stands behind the same interface
 * as the system calls, so that reactor, sockets and roles run on it unchanged.
 *
 * A wait never blocks. {@linkcode SimProcess.step} lets one `epollWait` through; the next one of the same step is remembered with
 * its deadline and ends the step. Whoever schedules the processes steps one again when it has events or its deadline has come,
 * which is just when the real call would have returned.
 */
import type { Arena } from "../../src/core/quic/engine.ts";
import type { Libc } from "../../src/io/native.ts";
import { MACHINE } from "../../src/io/native_machine.ts";
import type { SimEvents } from "./sim_events_fixture.ts";
import {
  EAGAIN,
  EBADF,
  EINTR,
  EINVAL,
  EMFILE,
  ENOTSOCK,
  POLLERR,
  POLLHUP,
  POLLIN,
  POLLOUT,
  type SimFile,
  Waiters,
  type Watch,
} from "./sim_file_fixture.ts";
import type { SimRandom, SimTrace } from "./sim_random_fixture.ts";
import { SimTcpListener, type SimTcpNetwork, SimTcpSocket } from "./sim_tcp_fixture.ts";
import { type SimHost, type SimNetwork, SimUdpSocket } from "./sim_udp_fixture.ts";

const EPOLLET = 0x8000_0000;

/** epoll(7): a list of files that may have something, looked at again when somebody waits. */
class SimEpoll implements SimFile {
  readonly waiters = new Waiters();
  readonly #watches = new Map<number, Watch>();
  readonly #ready = new Set<Watch>();

  poll(): number {
    return this.hasEvents() ? POLLIN : 0;
  }

  close(): void {
    for (const watch of this.#watches.values()) watch.file.waiters.watches.delete(watch);
    this.#watches.clear();
    this.#ready.clear();
  }

  control(operation: number, fd: number, file: SimFile, events: number, token: number): number {
    const known = this.#watches.get(fd);
    if (operation === 2) return known === undefined ? -2 : (this.forget(fd), 0);
    if (operation === 1) {
      if (known !== undefined) return -17;
      const watch: Watch = { file, events, token, wake: () => void this.#ready.add(watch) };
      this.#watches.set(fd, watch);
      file.waiters.watches.add(watch);
      this.#ready.add(watch);
      return 0;
    }
    if (known === undefined) return -2;
    known.events = events;
    known.token = token;
    this.#ready.add(known);
    return 0;
  }

  /** The descriptor was closed, or is watched no longer. */
  forget(fd: number): void {
    const watch = this.#watches.get(fd);
    if (watch === undefined) return;
    this.#watches.delete(fd);
    this.#ready.delete(watch);
    watch.file.waiters.watches.delete(watch);
  }

  hasEvents(): boolean {
    for (const watch of this.#ready) {
      if (eventsOf(watch) !== 0) return true;
      this.#ready.delete(watch);
    }
    return false;
  }

  /** Writes up to `maximum` events. Edge-triggered files are told once for each change. */
  collect(view: DataView, at: number, maximum: number): number {
    let count = 0;
    for (const watch of [...this.#ready]) {
      if (count === maximum) break;
      const events = eventsOf(watch);
      this.#ready.delete(watch);
      if (events === 0) continue;
      const eventAt = at + MACHINE.epollEventBytes * count;
      view.setUint32(eventAt, events, true);
      view.setUint32(eventAt + MACHINE.epollTokenAt, watch.token, true);
      view.setUint32(eventAt + MACHINE.epollTokenAt + 4, 0, true);
      count++;
      // A level-triggered file stays in the list, behind the others.
      if ((watch.events & EPOLLET) === 0) this.#ready.add(watch);
    }
    return count;
  }
}

function eventsOf(watch: Watch): number {
  return watch.file.poll() & (watch.events | POLLERR | POLLHUP);
}

/** eventfd(2) that only counts. */
class SimEventFd implements SimFile {
  readonly waiters = new Waiters();
  #count = 0;

  poll(): number {
    return POLLOUT | (this.#count > 0 ? POLLIN : 0);
  }

  close(): void {
    this.#count = 0;
  }

  signal(): number {
    this.#count++;
    this.waiters.wake();
    return 0;
  }

  drain(): number {
    if (this.#count === 0) return -EAGAIN;
    this.#count = 0;
    return 0;
  }
}

/** System calls of one turn, above which it counts as endless. */
const CALLS_MAX = 100_000;

/** What ends a step: the process waits. One object, so that no stack is taken. */
const BLOCKED = new Error("the simulated process waits");

/** What all processes of a world share. */
export interface SimKernel {
  readonly events: SimEvents;
  readonly trace: SimTrace;
  readonly network: SimNetwork;
  readonly tcp: SimTcpNetwork;
  /** The date on which the world began, in milliseconds since the epoch. */
  readonly wallStartMs: number;
}

/** Small troubles that system calls may have; chances are per call. */
export interface SimProcessTroubles {
  /** A wait is interrupted by a signal. */
  readonly interrupted: number;
  /** An accept finds no free descriptor. */
  readonly outOfDescriptors: number;
}

/** One process: a table of descriptors, and the system calls over its arena. */
export class SimProcess {
  readonly libc: Libc;
  readonly host: SimHost;
  readonly kernel: SimKernel;
  readonly files = new Map<number, SimFile>();
  /** When the wait that ended the last step is over without an event. */
  wakeAtMs = 0;
  troubles: SimProcessTroubles = { interrupted: 0, outOfDescriptors: 0 };
  readonly #random: SimRandom;
  #epoll: SimEpoll | null = null;
  #mayWait = false;
  #calls = 0;

  constructor(kernel: SimKernel, host: SimHost, arena: Arena, random: SimRandom) {
    this.kernel = kernel;
    this.host = host;
    this.#random = random;
    this.libc = this.#createLibc(arena);
  }

  get isRunnable(): boolean {
    return this.kernel.events.nowMs >= this.wakeAtMs || (this.#epoll?.hasEvents() ?? false);
  }

  /** Runs `run` through one wait. Returns whether it returned by itself instead of waiting again. */
  step(run: () => void): boolean {
    this.#mayWait = true;
    this.#calls = 0;
    try {
      run();
      return true;
    } catch (error) {
      if (error !== BLOCKED) throw error;
      return false;
    }
  }

  /** The process is gone: the kernel closes everything that it had open. */
  exit(): void {
    for (const fd of [...this.files.keys()]) this.#close(fd);
  }

  #open(file: SimFile): number {
    let fd = 3;
    while (this.files.has(fd)) fd++;
    this.files.set(fd, file);
    return fd;
  }

  #close(fd: number): number {
    const file = this.files.get(fd);
    if (file === undefined) return -EBADF;
    this.files.delete(fd);
    for (const other of this.files.values()) if (other instanceof SimEpoll) other.forget(fd);
    file.close();
    return 0;
  }

  #wait(epoll: SimFile | undefined, view: DataView, at: number, maximum: number, timeoutMs: number): number {
    if (!(epoll instanceof SimEpoll)) return -EBADF;
    this.#epoll = epoll;
    if (!this.#mayWait) {
      this.wakeAtMs = timeoutMs < 0 ? Infinity : this.kernel.events.nowMs + timeoutMs;
      throw BLOCKED;
    }
    this.#mayWait = false;
    if (this.troubles.interrupted > 0 && this.#random.chance(this.troubles.interrupted)) return -EINTR;
    return epoll.collect(view, at, maximum);
  }

  #accept(listener: SimFile | undefined, address: number): number {
    if (!(listener instanceof SimTcpListener)) return -EINVAL;
    if (this.troubles.outOfDescriptors > 0 && this.#random.chance(this.troubles.outOfDescriptors)) return -EMFILE;
    const socket = listener.accept(this.libc.arena, address);
    return socket === null ? -EAGAIN : this.#open(socket);
  }

  #createLibc(arena: Arena): Libc {
    const { events, network, tcp } = this.kernel;
    const { view } = arena;
    const tcpOf = (fd: number) => {
      if (++this.#calls > CALLS_MAX) throw new Error("a turn that does not end");
      const file = this.files.get(fd);
      return file instanceof SimTcpSocket ? file : null;
    };
    const udpOf = (fd: number) => {
      const file = this.files.get(fd);
      return file instanceof SimUdpSocket ? file : null;
    };
    const eventOf = (fd: number) => {
      const file = this.files.get(fd);
      return file instanceof SimEventFd ? file : null;
    };
    return {
      arena,
      socket: (domain, type) =>
        type === 3 ? -EINVAL : this.#open(
          type === 2 ? new SimUdpSocket(network, this.host, events, this.#random) : new SimTcpSocket(tcp, this.host, domain),
        ),
      bind: (fd, at) => udpOf(fd)?.bind(arena, at) ?? tcpOf(fd)?.bind(arena, at) ?? -ENOTSOCK,
      connect: (fd, at) => tcpOf(fd)?.connect(arena, at) ?? udpOf(fd)?.connect(arena, at) ?? -ENOTSOCK,
      listen: (fd) => {
        const listener = tcpOf(fd)?.listen() ?? -ENOTSOCK;
        if (typeof listener === "number") return listener;
        this.files.set(fd, listener);
        return 0;
      },
      accept: (fd, at) => this.#accept(this.files.get(fd), at),
      close: (fd) => this.#close(fd),
      shutdown: (fd, how) => tcpOf(fd)?.shutdown(how) ?? -ENOTSOCK,
      setsockopt: () => 0,
      setsockoptInt: (fd, level, option, value) => udpOf(fd)?.setOption(level, option, value) ?? (this.files.has(fd) ? 0 : -EBADF),
      getsockoptInt: (fd, level, option) => tcpOf(fd)?.getOption(level, option) ?? udpOf(fd)?.getOption(level, option) ?? -ENOTSOCK,
      setLingerZero: (fd) => tcpOf(fd)?.setLingerZero() ?? -ENOTSOCK,
      getsockname: (fd, at) => {
        const file = this.files.get(fd);
        return file instanceof SimTcpListener ? file.name(arena, at) : udpOf(fd)?.name(arena, at) ?? -ENOTSOCK;
      },
      recv: (fd, offset, length) => (tcpOf(fd) ?? udpOf(fd))?.recv(arena.bytes, offset, length) ?? -ENOTSOCK,
      send: (fd, offset, length) => (tcpOf(fd) ?? udpOf(fd))?.send(arena.bytes, offset, length) ?? -ENOTSOCK,
      recvmmsg: (fd, headers, count) => udpOf(fd)?.recvmmsg(arena, headers, count) ?? -ENOTSOCK,
      sendmmsg: (fd, headers, count) => udpOf(fd)?.sendmmsg(arena, headers, count) ?? -ENOTSOCK,
      epollCreate: () => this.#open(new SimEpoll()),
      epollControl: (epoll, operation, fd, mask, token) => {
        const file = this.files.get(fd), list = this.files.get(epoll);
        if (file === undefined || !(list instanceof SimEpoll)) return -EBADF;
        return list.control(operation, fd, file, mask >>> 0, token);
      },
      epollWait: (epoll, at, maximum, timeoutMs) => this.#wait(this.files.get(epoll), view, at, maximum, timeoutMs),
      eventfd: () => this.#open(new SimEventFd()),
      eventfdSignal: (fd) => eventOf(fd)?.signal() ?? -EBADF,
      eventfdDrain: (fd) => eventOf(fd)?.drain() ?? -EBADF,
    };
  }
}
