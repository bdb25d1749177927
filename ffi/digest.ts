/** Written by tools/native/build.sh: which library this source tree belongs to. */
export const LIBRARY_SHA256 = "edff4939b3db6c77b51a5da75b046b5dcf9f89af263bd118fda702d366bb6939";
export const LIBRARY_ABI_VERSION = 1;
