/** Written by tools/native/build.sh: which library this source tree belongs to. */
export const LIBRARY_SHA256 = "b051595f0559ceb69560cab4f6f7b0872a72a1fdcb7f94b86c516c558c487748";
export const LIBRARY_ABI_VERSION = 1;
