/**
 * Where the fields of quiche's C structs lie, in bytes from their beginning, on 64-bit Linux; `size` is the whole struct's.
 * `tests/abi` compares these numbers with the library's own and sees where quiche really writes. Fields are 8 bytes wide unless
 * the name is that of a length of an address (4), `active` or `txBufferedInconsistent` (1), or an address itself (128).
 */

export const RECV_INFO = { size: 32, from: 0, fromLen: 8, to: 16, toLen: 24 } as const;

/** `at` is a struct timespec: seconds, nanoseconds. */
export const SEND_INFO = { size: 288, from: 0, fromLen: 128, to: 136, toLen: 264, at: 272 } as const;

/** Counters of a connection. */
export const STATS = {
  size: 208,
  recv: 0,
  sent: 8,
  lost: 16,
  spuriousLost: 24,
  retrans: 32,
  sentBytes: 40,
  recvBytes: 48,
  ackedBytes: 56,
  lostBytes: 64,
  streamRetransBytes: 72,
  dgramRecv: 80,
  dgramSent: 88,
  pathsCount: 96,
  resetStreamCountLocal: 104,
  stoppedStreamCountLocal: 112,
  resetStreamCountRemote: 120,
  stoppedStreamCountRemote: 128,
  dataBlockedSentCount: 136,
  streamDataBlockedSentCount: 144,
  dataBlockedRecvCount: 152,
  streamDataBlockedRecvCount: 160,
  streamsBlockedBidiRecvCount: 168,
  streamsBlockedUniRecvCount: 176,
  pathChallengeRxCount: 184,
  bytesInFlightDurationMsec: 192,
  txBufferedInconsistent: 200,
} as const;

/** State of one path; times in nanoseconds. */
export const PATH_STATS = {
  size: 448,
  localAddr: 0,
  localAddrLen: 128,
  peerAddr: 136,
  peerAddrLen: 264,
  validationState: 272,
  active: 280,
  recv: 288,
  sent: 296,
  lost: 304,
  retrans: 312,
  totalPtoCount: 320,
  dgramRecv: 328,
  dgramSent: 336,
  rtt: 344,
  minRtt: 352,
  maxRtt: 360,
  rttvar: 368,
  cwnd: 376,
  sentBytes: 384,
  recvBytes: 392,
  lostBytes: 400,
  streamRetransBytes: 408,
  pmtu: 416,
  deliveryRate: 424,
  maxBandwidth: 432,
  startupExitCwnd: 440,
} as const;
