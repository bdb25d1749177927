/** Written by tools/native/build.sh: which library this source tree belongs to. */
export const LIBRARY_SHA256 = "ad4c065408c46ddc4752964ceccf8cf2f34f8171708940d7fde5a18e1f0a9340";
export const LIBRARY_ABI_VERSION = 1;
