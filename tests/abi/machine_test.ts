/** The numbers and structs of the C library as this code base writes them, against the C headers of each processor. */
import { assertEquals } from "@std/assert";
import { type Machine, MACHINES } from "../../src/io/native_machine.ts";
import { needing } from "../../tools/needs.ts";

const HEADERS = [
  "sys/epoll.h",
  "sys/eventfd.h",
  "sys/file.h",
  "sys/ioctl.h",
  "sys/mman.h",
  "sys/prctl.h",
  "sys/socket.h",
  "sys/un.h",
];
const MORE_HEADERS = [
  "dlfcn.h",
  "errno.h",
  "fcntl.h",
  "linux/if_tun.h",
  "net/if.h",
  "net/route.h",
  "netinet/tcp.h",
  "netinet/udp.h",
];

/** C's expression → the number that stands in src or ffi, the same for every processor. */
const EVERYWHERE: Readonly<Record<string, number>> = {
  "O_RDWR": 2,
  "O_CREAT": 0o100,
  "O_NONBLOCK": 0o4000,
  "O_CLOEXEC": 0o2000000,
  "SOCK_NONBLOCK": 0o4000,
  "SOCK_CLOEXEC": 0o2000000,
  "EFD_NONBLOCK": 0o4000,
  "EFD_CLOEXEC": 0o2000000,
  "EPOLL_CLOEXEC": 0o2000000,
  "EPOLLET": 0x8000_0000,
  "EPOLLRDHUP": 0x2000,
  "EPOLL_CTL_MOD": 3,
  "F_ADD_SEALS": 1033,
  "MFD_ALLOW_SEALING": 2,
  "RTLD_NODELETE": 0x1000,
  "LOCK_EX | LOCK_NB": 6,
  "MSG_DONTWAIT": 0x40,
  "MSG_NOSIGNAL": 0x4000,
  "SOL_SOCKET": 1,
  "SO_ERROR": 4,
  "SO_SNDBUF": 7,
  "SO_RCVBUF": 8,
  "SO_KEEPALIVE": 9,
  "SO_LINGER": 13,
  "SO_PEERCRED": 17,
  "SO_SNDBUFFORCE": 32,
  "SO_RCVBUFFORCE": 33,
  "SO_PEERGROUPS": 59,
  "UDP_SEGMENT": 103,
  "UDP_GRO": 104,
  "IP_MTU_DISCOVER": 10,
  "IPV6_MTU_DISCOVER": 23,
  "IPV6_V6ONLY": 26,
  "AF_INET6": 10,
  "AF_NETLINK": 16,
  "EAGAIN": 11,
  "ENOBUFS": 105,
  "PR_SET_NO_NEW_PRIVS": 38,
  "PR_CAP_AMBIENT": 47,
  "TUNSETIFF": 0x4004_54ca,
  "IFF_NO_PI": 0x1000,
  "sizeof(struct sockaddr_in6)": 28,
  "sizeof(struct sockaddr_un)": 110,
  "sizeof(struct sockaddr_storage)": 128,
  "sizeof(struct iovec)": 16,
  "sizeof(struct msghdr)": 56,
  "sizeof(struct mmsghdr)": 64,
  "offsetof(struct mmsghdr, msg_len)": 56,
  "sizeof(struct cmsghdr)": 16,
  "sizeof(struct linger)": 8,
  "sizeof(struct timespec)": 16,
  "sizeof(struct ifreq)": 40,
  "sizeof(struct rtentry)": 120,
};

function expectedOf(machine: Machine): Readonly<Record<string, number>> {
  return {
    ...EVERYWHERE,
    "sizeof(struct epoll_event)": machine.epollEventBytes,
    "offsetof(struct epoll_event, data)": machine.epollTokenAt,
    "O_NOFOLLOW": machine.openNoFollow,
  };
}

/** What the compiler says about a program that claims all of it; nothing is started. */
function contradictions(compiler: string, expected: Readonly<Record<string, number>>): string {
  const includes = ["stddef.h", "time.h", ...HEADERS, ...MORE_HEADERS].map((name) => `#include <${name}>\n`).join("");
  const claims = Object.entries(expected).map(([text, number]) =>
    `_Static_assert((${text}) == ${number}u, "${text} is ${number}");\n`
  );
  const file = Deno.makeTempFileSync({ suffix: ".c" });
  try {
    Deno.writeTextFileSync(file, `#define _GNU_SOURCE\n${includes}${claims.join("")}`);
    const args = ["-std=gnu11", "-fsyntax-only", file];
    const { stderr } = new Deno.Command(compiler, { args, env: { LC_ALL: "C" }, stdin: "null" }).outputSync();
    return new TextDecoder().decode(stderr).split("\n").filter((line) => line.includes(" error: ")).join("\n");
  } finally {
    Deno.removeSync(file);
  }
}

for (
  const [machine, compiler] of [[MACHINES.x86_64, "x86_64-linux-gnu-gcc"], [MACHINES.aarch64, "aarch64-linux-gnu-gcc"]] as const
) {
  Deno.test(needing({ tools: [compiler] }, `the system calls' numbers and structs are those of ${machine.name}`, () => {
    assertEquals(contradictions(compiler, expectedOf(machine)), "");
  }));

  Deno.test(needing({ tools: [compiler] }, `a number that is not one of ${machine.name} is found`, () => {
    const wrong = contradictions(compiler, { "O_NOFOLLOW": machine.openNoFollow + 1 });
    assertEquals(wrong.split("\n").length, 1, wrong);
  }));
}
