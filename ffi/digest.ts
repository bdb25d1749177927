/** Written by tools/native/build.sh: which library this source tree belongs to. */
export const LIBRARY_SHA256 = "fbf68c14e8bc017686eece4e6d777893b9669f1f79611db213a622b6320c7c14";
export const LIBRARY_ABI_VERSION = 1;
