/**
 * A listening TCP socket that speaks TLS 1.3 and nothing else, over IPv6 and nothing else. Handshakes run beside each other and are
 * bounded in time and number: whoever has not shown a certificate yet can be pushed out by the next one, so silence blocks nobody.
 */
import { PosternError } from "../../base/mod.ts";
import { errnoText } from "../errno.ts";
import { formatEndpoint, readSockaddr, writeSockaddr } from "../sockaddr.ts";
import type { CertificateSummary } from "../../core/quic/engine.ts";
import type { TlsContext } from "../tls_end.ts";
import { acceptLoop } from "./accept_loop.ts";
import { FdStream } from "./fd_stream.ts";
import { LINGER_MS } from "./limits.ts";
import type { Poller, Watch } from "./poller.ts";
import { Deadline } from "./stream.ts";
import { TlsStream } from "./tls_stream.ts";

const SOL_SOCKET = 1, SO_REUSEADDR = 2, IPPROTO_TCP = 6, TCP_NODELAY = 1, IPPROTO_IPV6 = 41, IPV6_V6ONLY = 26;
const AF_INET6 = 10, SOCK_STREAM = 1, SOCKADDR_IN6_BYTES = 28;
const BACKLOG = 128;

export interface TlsListenerLimits {
  readonly handshakeMs: number;
  /** Connections without a verified certificate; the oldest goes when one more comes. */
  readonly handshakesMax: number;
  /** Connections with one; the next is refused. */
  readonly connectionsMax: number;
}

export const DEFAULT_TLS_LISTENER_LIMITS: TlsListenerLimits = { handshakeMs: 30_000, handshakesMax: 64, connectionsMax: 64 };

/** An IPv6 address without brackets, and a port; 0 is any free one. */
export interface Ipv6Address {
  readonly address: string;
  readonly port: number;
}

export interface TlsConnection {
  readonly stream: TlsStream;
  readonly remote: string;
  /** Null only where the context does not demand one. */
  readonly certificate: CertificateSummary | null;
  /** `TLSv1.3`. */
  readonly version: string;
  readonly cipher: string;
  readonly group: string;
}

export type TlsRefusalReason = "no-certificate" | "bad-certificate" | "protocol" | "timeout" | "limit" | "left";

export interface TlsRefusal {
  readonly reason: TlsRefusalReason;
  /** In words; made of the library's texts and what the peer sent. */
  readonly detail: string;
  readonly remote: string;
  /** What a peer with a bad certificate showed. */
  readonly offered: CertificateSummary | null;
}

export interface TlsListenerEvents {
  /** Runs the connection; it is closed when the promise settles. */
  onConnection(connection: TlsConnection): Promise<void>;
  onRefused(refusal: TlsRefusal): void;
}

export class TlsListener {
  /** As bound: the port is the real one. */
  readonly address: Ipv6Address;
  readonly #poller: Poller;
  readonly #watch: Watch;
  readonly #limits: TlsListenerLimits;
  readonly #handshakes = new Map<TlsStream, { evict(): void }>();
  readonly #open = new Set<TlsStream>();
  #context: TlsContext;
  #closed = false;
  #ended: Promise<void> = Promise.resolve();

  constructor(poller: Poller, watch: Watch, address: Ipv6Address, context: TlsContext, limits: TlsListenerLimits) {
    this.#poller = poller;
    this.#watch = watch;
    this.address = address;
    this.#context = context;
    this.#limits = limits;
  }

  /** Binds the address with IPV6_V6ONLY. The listener owns `context` from now on. Throws a PosternError `bind`. */
  static open(poller: Poller, address: Ipv6Address, context: TlsContext, limits = DEFAULT_TLS_LISTENER_LIMITS): TlsListener {
    const { libc, bounceAt } = poller;
    const fd = libc.socket(AF_INET6, SOCK_STREAM);
    if (fd < 0) throw bindError(address, fd);
    const steps = [
      () => libc.setsockoptInt(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1),
      () => libc.setsockoptInt(fd, SOL_SOCKET, SO_REUSEADDR, 1),
      () => writeSockaddr(libc.arena, bounceAt, address) === AF_INET6 ? libc.bind(fd, bounceAt, SOCKADDR_IN6_BYTES) : -EINVAL,
      () => libc.listen(fd, BACKLOG),
      () => libc.getsockname(fd, bounceAt),
    ];
    for (const step of steps) {
      const result = step();
      if (result >= 0) continue;
      libc.close(fd);
      throw bindError(address, result);
    }
    const port = readSockaddr(libc.arena, bounceAt)?.port ?? address.port;
    const watch = poller.watch(fd);
    if (watch === null) {
      libc.close(fd);
      throw bindError(address, -ENOMEM);
    }
    return new TlsListener(poller, watch, { ...address, port }, context, limits);
  }

  /** How many are at each bound now. */
  get load(): { readonly handshakes: number; readonly handshakesMax: number; readonly open: number; readonly openMax: number } {
    const { handshakesMax, connectionsMax } = this.#limits;
    return { handshakes: this.#handshakes.size, handshakesMax, open: this.#open.size, openMax: connectionsMax };
  }

  serve(events: TlsListenerEvents): void {
    const take = (fd: number) => {
      const remote = readSockaddr(this.#poller.libc.arena, this.#poller.bounceAt);
      void this.#take(fd, remote === null ? "unknown" : formatEndpoint(remote), events);
    };
    const exhausted = () =>
      events.onRefused({ reason: "limit", detail: "no descriptors are left", remote: "unknown", offered: null });
    this.#ended = acceptLoop(this.#poller, this.#watch, () => this.#closed, take, exhausted);
  }

  /** New handshakes use `context`; connections that stand go on as they are. */
  replaceContext(context: TlsContext): void {
    this.#context[Symbol.dispose]();
    this.#context = context;
  }

  /** Stops listening and closes every connection. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#poller.closeWatched(this.#watch);
    for (const stream of [...this.#handshakes.keys(), ...this.#open]) stream.close();
    await this.#ended;
    this.#context[Symbol.dispose]();
  }

  async #take(fd: number, remote: string, events: TlsListenerEvents): Promise<void> {
    const { libc } = this.#poller;
    libc.setsockoptInt(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    const inner = FdStream.open(this.#poller, fd);
    if (inner === null) return;
    const refuse = (reason: TlsRefusalReason, detail: string, offered: CertificateSummary | null = null) =>
      events.onRefused({ reason, detail, remote, offered });
    const stream = new TlsStream(inner, this.#context.createEnd(null));
    try {
      if (!await this.#shakeHands(stream, refuse)) return;
      if (this.#open.size >= this.#limits.connectionsMax) {
        return refuse("limit", `more than ${this.#limits.connectionsMax} connections`);
      }
      this.#open.add(stream);
      const { version, cipher, group } = stream.end.description();
      await events.onConnection({ stream, remote, certificate: stream.end.peerCertificate(), version, cipher, group });
    } finally {
      this.#open.delete(stream);
      stream.close();
    }
  }

  /** Whether the peer may go on. Reports why not. */
  async #shakeHands(
    stream: TlsStream,
    refuse: (reason: TlsRefusalReason, detail: string, offered?: CertificateSummary | null) => void,
  ): Promise<boolean> {
    const deadline = new Deadline(stream);
    let evicted = false;
    this.#makeRoom();
    this.#handshakes.set(stream, {
      evict: () => {
        evicted = true;
        stream.close();
      },
    });
    deadline.set(this.#limits.handshakeMs);
    try {
      await stream.handshake();
      return true;
    } catch {
      if (evicted) refuse("limit", `more than ${this.#limits.handshakesMax} handshakes at once`);
      else if (deadline.missed) refuse("timeout", "the handshake took too long");
      else if (!stream.isClosed) {
        const { reason, detail, offered } = describeFailure(stream);
        refuse(reason, detail, offered);
        deadline.set(LINGER_MS);
        await stream.lingerAfterRefusal().catch(() => {});
      } else refuse("left", "the peer closed during the handshake");
      return false;
    } finally {
      deadline.clear();
      this.#handshakes.delete(stream);
    }
  }

  #makeRoom(): void {
    if (this.#handshakes.size < this.#limits.handshakesMax) return;
    for (const [stream, { evict }] of this.#handshakes) {
      this.#handshakes.delete(stream);
      evict();
      return;
    }
  }
}

const EINVAL = 22, ENOMEM = 12;

function describeFailure(stream: TlsStream): Omit<TlsRefusal, "remote"> {
  const refused = stream.end.verifyError();
  if (refused !== null) return { reason: "bad-certificate", detail: refused.reason, offered: refused.offered };
  const detail = stream.end.failure();
  if (/did not return a certificate/.test(detail)) return { reason: "no-certificate", detail, offered: null };
  return { reason: /closed/.test(detail) ? "left" : "protocol", detail, offered: null };
}

function bindError(address: Ipv6Address, result: number): PosternError {
  return new PosternError(`cannot listen on ${formatEndpoint(address)}: ${errnoText(-result)}`, {
    code: "bind",
    hint: "another process may listen there: `ss -ltnp` shows which; or give another --metrics-addr",
  });
}
