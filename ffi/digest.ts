/** Written by tools/native/build.sh: which library this source tree belongs to. */
export const LIBRARY_SHA256 = "d113cfb3b33c79a5ea91c130de11bc8a31fcc85c443b1d8bb00acb6c5f360ee3";
export const LIBRARY_ABI_VERSION = 1;
