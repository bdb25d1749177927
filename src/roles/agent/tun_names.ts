/**
 * The DNS of the TUN device: answers questions about `SERVICE.ztna` with the service's inner address, and refuses all others, so that
 * a resolver asks somebody else. Question and answer are packets that never leave this machine.
 */
import { parseIp } from "../../base/mod.ts";
import {
  decodeDnsQuestion,
  decodeIp,
  decodeUdp,
  DNS_MESSAGE_BYTES_MAX,
  DnsCode,
  type DnsQuestion,
  DnsType,
  encodeDnsResponse,
  encodeUdp,
  type IpEnds,
  IpHeader,
  IpProtocol,
  type PacketMemory,
  UdpHeader,
  udpHeadroomBytes,
} from "../../core/wire/mod.ts";

export const DNS_PORT = 53;
/** The domain below which services have their names. */
export const TUN_DOMAIN = "ztna";
/** Short: an address may change when the agent starts anew. */
const TTL_SECONDS = 30;
const NOTHING: readonly Uint8Array[] = [];

/** The room that an answer needs. */
export const DNS_PACKET_BYTES_MAX = udpHeadroomBytes(true) + DNS_MESSAGE_BYTES_MAX;

/** The inner address of a service, by its id in lower case: null where it has none of that kind, undefined where there is no such service. */
export type AddressOf = (service: string, isIpv6: boolean) => string | null | undefined;

export class TunNames {
  readonly #addressOf: AddressOf;
  /** From the answerer to whoever asks: this machine. */
  readonly #ends: IpEnds;
  readonly #ip = new IpHeader();
  readonly #udp = new UdpHeader();

  constructor(ends: IpEnds, addressOf: AddressOf) {
    this.#ends = ends;
    this.#addressOf = addressOf;
  }

  /**
   * Writes the answer to the packet at `offset` to `replyAt`, which has room for {@linkcode DNS_PACKET_BYTES_MAX}, and returns its
   * length. 0: it is no question, and gets none.
   */
  answer(memory: PacketMemory, offset: number, length: number, replyAt: number): number {
    const ip = this.#ip, udp = this.#udp;
    if (decodeIp(memory, offset, length, ip) !== "ok" || ip.protocol !== IpProtocol.udp) return 0;
    if (ip.source3 !== this.#ends.destination3 || !ip.isIpv4) return 0;
    if (decodeUdp(memory, ip, udp) !== "ok" || udp.destinationPort !== DNS_PORT) return 0;
    const question = decodeDnsQuestion(memory.bytes, udp.payloadOffset, udp.payloadBytes);
    if (question.kind === "malformed") return 0;
    const { code, addresses } = this.#resolve(question);
    const at = replyAt + udpHeadroomBytes(true);
    const bytes = encodeDnsResponse(memory.bytes, udp.payloadOffset, at, question, code, addresses, TTL_SECONDS);
    return encodeUdp(memory, replyAt, this.#ends, DNS_PORT, udp.sourcePort, bytes);
  }

  #resolve({ isQuery, isInternet, name, type }: DnsQuestion): { readonly code: number; readonly addresses: readonly Uint8Array[] } {
    if (!isQuery) return { code: DnsCode.notImplemented, addresses: NOTHING };
    if (!isInternet) return { code: DnsCode.refused, addresses: NOTHING };
    if (name === TUN_DOMAIN) return { code: DnsCode.noError, addresses: NOTHING };
    if (!name.endsWith(`.${TUN_DOMAIN}`)) return { code: DnsCode.refused, addresses: NOTHING };
    const service = name.slice(0, -TUN_DOMAIN.length - 1);
    const v4 = this.#addressOf(service, false), v6 = this.#addressOf(service, true);
    if (v4 === undefined) return { code: DnsCode.nameError, addresses: NOTHING };
    const wanted = [...type !== DnsType.aaaa ? [v4] : [], ...type !== DnsType.a ? [v6] : []];
    const isAddress = type === DnsType.a || type === DnsType.aaaa || type === DnsType.any;
    const addresses = (isAddress ? wanted : []).map((address) => parseIp(address ?? "")).filter((address) => address !== null);
    return { code: DnsCode.noError, addresses };
  }
}
