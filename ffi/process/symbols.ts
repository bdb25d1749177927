/** The C library's functions that the process bindings call, each with its C parameters. Pointers are addresses as bigints. */
export const PROCESS_SYMBOLS = {
  epoll_wait: { parameters: ["i32", "usize", "i32", "i32"], result: "i32", nonblocking: true }, // int epfd, struct epoll_event *, int, int timeout
  getsockopt: { parameters: ["i32", "i32", "i32", "buffer", "buffer"], result: "i32" }, // int fd, int level, int name, void *, socklen_t *
  open: { parameters: ["buffer", "i32", "u32"], result: "i32" }, // const char *, int flags, mode_t
  read: { parameters: ["i32", "buffer", "usize"], result: "i32" }, // int fd, void *, size_t; ssize_t fits
  opendir: { parameters: ["buffer"], result: "pointer" }, // const char *
  readdir: { parameters: ["pointer"], result: "pointer" }, // DIR *
  closedir: { parameters: ["pointer"], result: "i32" }, // DIR *
  flock: { parameters: ["i32", "i32"], result: "i32" }, // int fd, int operation
  close: { parameters: ["i32"], result: "i32" }, // int fd
  clock_gettime: { parameters: ["i32", "buffer"], result: "i32" }, // clockid_t, struct timespec *
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" }, // int domain, int type, int protocol
  socketpair: { parameters: ["i32", "i32", "i32", "buffer"], result: "i32" }, // int domain, int type, int protocol, int sv[2]
  sendto: { parameters: ["i32", "buffer", "usize", "i32", "buffer", "u32"], result: "i32" }, // int fd, const void *, size_t, int flags, const struct sockaddr *, socklen_t; ssize_t fits
  __errno_location: { parameters: [], result: "pointer" }, // int *, of the calling thread
} as const satisfies Deno.ForeignLibraryInterface;

/** What limits the process. Bound by itself: each function costs time, twice, since the program is executed anew. */
export const HARDENING_SYMBOLS = {
  open: { parameters: ["buffer", "i32", "u32"], result: "i32" }, // const char *, int flags, mode_t
  read: { parameters: ["i32", "buffer", "usize"], result: "i32" }, // int fd, void *, size_t; ssize_t fits
  close: { parameters: ["i32"], result: "i32" }, // int fd
  prctl: { parameters: ["i32", "u64", "u64", "u64", "u64"], result: "i32" }, // int option, unsigned long ×4
  capset: { parameters: ["buffer", "buffer"], result: "i32" }, // cap_user_header_t, const cap_user_data_t
  execve: { parameters: ["buffer", "buffer", "buffer"], result: "i32" }, // const char *, char *const[], char *const[]
  __errno_location: { parameters: [], result: "pointer" }, // int *, of the calling thread
} as const satisfies Deno.ForeignLibraryInterface;
