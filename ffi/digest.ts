/** Written by tools/native/build.sh: which library this source tree belongs to. */
export const LIBRARY_SHA256 = "a5b32063187320ef3cdc4999da71b066f0f10c4725535b9fcd1fcae3fa95f7f1";
export const LIBRARY_ABI_VERSION = 1;
