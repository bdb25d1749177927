/** Written by tools/native/build.sh: which library this source tree belongs to. */
export const LIBRARY_SHA256 = "af97405efc79bde4dc2f3d51948804ffd215b1cc02aa920e6d107cc95d7b4c07";
export const LIBRARY_ABI_VERSION = 1;
