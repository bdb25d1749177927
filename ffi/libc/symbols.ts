/** The C library's functions that the data plane calls, each with its C parameters. Pointers are arena addresses as bigints. */
export const LIBC_SYMBOLS = {
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" }, // int domain, int type, int protocol
  bind: { parameters: ["i32", "usize", "u32"], result: "i32" }, // int fd, const struct sockaddr *, socklen_t
  connect: { parameters: ["i32", "usize", "u32"], result: "i32" }, // int fd, const struct sockaddr *, socklen_t
  listen: { parameters: ["i32", "i32"], result: "i32" }, // int fd, int backlog
  accept4: { parameters: ["i32", "usize", "usize", "i32"], result: "i32" }, // int fd, struct sockaddr *, socklen_t *, int flags
  close: { parameters: ["i32"], result: "i32" }, // int fd
  shutdown: { parameters: ["i32", "i32"], result: "i32" }, // int fd, int how
  setsockopt: { parameters: ["i32", "i32", "i32", "usize", "u32"], result: "i32" }, // int fd, int level, int name, const void *, socklen_t
  getsockopt: { parameters: ["i32", "i32", "i32", "usize", "usize"], result: "i32" }, // int fd, int level, int name, void *, socklen_t *
  getsockname: { parameters: ["i32", "usize", "usize"], result: "i32" }, // int fd, struct sockaddr *, socklen_t *
  recv: { parameters: ["i32", "usize", "usize", "i32"], result: "i32" }, // int fd, void *, size_t, int flags; ssize_t fits
  send: { parameters: ["i32", "usize", "usize", "i32"], result: "i32" }, // int fd, const void *, size_t, int flags; ssize_t fits
  recvmmsg: { parameters: ["i32", "usize", "u32", "i32", "usize"], result: "i32" }, // int fd, struct mmsghdr *, unsigned, int, struct timespec *
  sendmmsg: { parameters: ["i32", "usize", "u32", "i32"], result: "i32" }, // int fd, struct mmsghdr *, unsigned, int flags
  epoll_create1: { parameters: ["i32"], result: "i32" }, // int flags
  epoll_ctl: { parameters: ["i32", "i32", "i32", "usize"], result: "i32" }, // int epfd, int op, int fd, struct epoll_event *
  epoll_wait: { parameters: ["i32", "usize", "i32", "i32"], result: "i32" }, // int epfd, struct epoll_event *, int maxevents, int timeout
  eventfd: { parameters: ["u32", "i32"], result: "i32" }, // unsigned initval, int flags
  eventfd_write: { parameters: ["i32", "u64"], result: "i32" }, // int fd, eventfd_t value
  eventfd_read: { parameters: ["i32", "usize"], result: "i32" }, // int fd, eventfd_t *value
  __errno_location: { parameters: [], result: "pointer" }, // int *, of the calling thread
} as const satisfies Deno.ForeignLibraryInterface;

/** Those that only a TUN device needs. */
export const DEVICE_SYMBOLS = {
  open: { parameters: ["usize", "i32"], result: "i32" }, // const char *, int flags; the mode is read for new files only
  ioctl: { parameters: ["i32", "u64", "usize"], result: "i32" }, // int fd, unsigned long request, void *
  read: { parameters: ["i32", "usize", "usize"], result: "i32" }, // int fd, void *, size_t; ssize_t fits
  write: { parameters: ["i32", "usize", "usize"], result: "i32" }, // int fd, const void *, size_t; ssize_t fits
  __errno_location: { parameters: [], result: "pointer" }, // int *, of the calling thread
} as const satisfies Deno.ForeignLibraryInterface;
