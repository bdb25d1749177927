/** Written by tools/native/build.sh: which library this source tree belongs to. */
export const LIBRARY_SHA256 = "828e3d7a695a109b4123dff90ddac218a82ed58ebae56b3d51c40c31b0fd040a";
export const LIBRARY_ABI_VERSION = 1;
