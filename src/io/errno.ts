/** Linux error numbers in words, for messages to people. */

const TEXTS: Readonly<Record<number, string>> = {
  1: "operation not permitted",
  2: "no such file or directory",
  9: "bad file descriptor",
  11: "try again",
  12: "out of memory",
  13: "permission denied",
  22: "invalid argument",
  23: "too many open files in the system",
  24: "too many open files",
  32: "broken pipe",
  90: "message too long",
  97: "address family not supported",
  98: "address already in use",
  99: "address not available on this machine",
  100: "network is down",
  101: "network is unreachable",
  103: "connection aborted",
  104: "connection reset by peer",
  110: "connection timed out",
  111: "connection refused",
  113: "no route to host",
};

/** The words for a positive errno. */
export function errnoText(errno: number): string {
  return TEXTS[errno] ?? `error number ${errno}`;
}
