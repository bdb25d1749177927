/** Written by tools/native/build.sh: which library this source tree belongs to. */
export const LIBRARY_SHA256 = "f3fffccc6f019916bc1adb251da0b9f869c9b5b6c2dc287d3a54a107f510f806";
export const LIBRARY_ABI_VERSION = 1;
