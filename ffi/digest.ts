/** Written by tools/native/build.sh: which libraries this source tree belongs to. */
export const LIBRARY_DIGESTS = {
  "linux-x64": "b051595f0559ceb69560cab4f6f7b0872a72a1fdcb7f94b86c516c558c487748",
  "linux-arm64": "093a48ceb2b535fd8bdd31bf69d8a50786c6adb09aa53dabe6acdbcece554b06",
} as const;
export const LIBRARY_ABI_VERSION = 1;
