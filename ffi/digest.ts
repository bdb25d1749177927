/** Written by tools/native/build.sh: which libraries this source tree belongs to. */
export const LIBRARY_DIGESTS = {
  "linux-x64": "1dbd8f8a6ec7b829534643a38a46166fe49195a22d1de299b7adafa374465166",
  "linux-arm64": "1c8dcbdab1a4b9981259786969f68fdd31c06f09912327a424e4abef98af8f84",
} as const;
export const LIBRARY_ABI_VERSION = 1;
