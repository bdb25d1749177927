/** The path with what was measured on it: 80 columns, plain text. */
import { formatBytes, formatMs, formatRate } from "./format.ts";
import type { Times } from "./measure.ts";
import type { Transfer } from "./transfer.ts";

/** What the picture shows. */
export interface Measured {
  /** From the first packet to the server's first answer. */
  readonly handshakeMs: { readonly agent: number; readonly connector: number };
  readonly protocol: string;
  readonly group: string;
  readonly cipher: string;
  readonly firstByte: Times;
  readonly roundTrip: Times;
  readonly toService: Transfer;
  readonly fromService: Transfer;
}

/** Between the outer edges of the two outer boxes. */
const SPAN_COLUMNS = 78;

/** The lines of the picture. */
export function drawPicture(measured: Measured): string[] {
  const { handshakeMs, protocol, group, cipher, firstByte, roundTrip, toService, fromService } = measured;
  const [left, right] = [handshakeMs.agent, handshakeMs.connector].map((ms) => centre(formatWhole(ms), 9));
  const times = ({ p50Ms, p99Ms }: Times) => `${formatMs(p50Ms)}, p99 ${formatMs(p99Ms)}`;
  const moved = ({ bytes, ms }: Transfer) => `${formatBytes(bytes)} at ${formatRate(bytes, ms)}`;
  return [
    "┌─────┐     ┌───────┐         ┌────────┐         ┌───────────┐     ┌─────────┐",
    "│     │ TCP │       │  QUIC   │        │  QUIC   │           │ TCP │         │",
    "│ you │ ──► │ agent │ ══════► │ server │ ◄══════ │ connector │ ──► │ service │",
    `└─────┘     └───────┘${left}└────────┘${right}└───────────┘     └─────────┘`,
    span("├", ` first byte of a new connection: ${times(firstByte)} `, "┤"),
    span("├", ` round trip of 64 bytes: ${times(roundTrip)} `, "┤"),
    span("─", ` ${moved(toService)} `, "►"),
    span("◄", ` ${moved(fromService)} `, "─"),
    `Both handshakes: ${protocol}, ${group}, ${cipher}, certificates verified on both sides.`,
  ];
}

function span(left: string, text: string, right: string): string {
  return `${left}──${text}`.padEnd(SPAN_COLUMNS - 1, "─") + right;
}

function centre(text: string, columns: number): string {
  return text.padStart(Math.ceil((columns + text.length) / 2)).padEnd(columns);
}

/** Clients log whole milliseconds. */
function formatWhole(ms: number): string {
  return ms < 1 ? "<1 ms" : `${Math.round(ms)} ms`;
}
