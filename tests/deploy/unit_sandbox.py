"""
Runs a program under what a unit allows of the kernel, where no service manager runs: unit_sandbox.py FILTER FAMILIES PROGRAM [ARG]...

FILTER has the words of SystemCallFilter= without a sign, in the order of the unit, lists that are taken away with a leading `~`, for
example `@system-service,~@privileged`; FAMILIES those of RestrictAddressFamilies=. Refused calls fail with EPERM, as
SystemCallErrorNumber= of the units says. What the sets contain, systemd-analyze knows.
"""
import errno
import os
import socket
import subprocess
import sys

import seccomp


def members(name, sets):
    for entry in sets[name]:
        if entry.startswith("@"):
            yield from members(entry, sets)
        else:
            yield entry


def read_sets():
    text = subprocess.run(
        ["systemd-analyze", "syscall-filter", "--no-pager"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True, text=True
    ).stdout
    sets, current = {}, None
    for line in text.splitlines():
        word = line.strip()
        if line.startswith("@"):
            current = sets.setdefault(word, [])
        elif word and not word.startswith("#") and current is not None:
            current.append(word)
    return sets


def main():
    words, families, program = sys.argv[1].split(","), sys.argv[2].split(","), sys.argv[3:]
    sets, allowed = read_sets(), set()
    # Always allowed: without these no program starts.
    allowed.update(members("@default", sets))
    for word in words:
        names = set(members(word.lstrip("~"), sets))
        allowed = allowed - names if word.startswith("~") else allowed | names
    rules = seccomp.SyscallFilter(defaction=seccomp.ERRNO(errno.EPERM))
    for name in sorted(allowed - {"socket", "clone3"}):
        try:
            rules.add_rule(seccomp.ALLOW, name)
        except (RuntimeError, ValueError, OSError):
            pass  # not a call of this processor
    # RestrictNamespaces= cannot look into its arguments, so the program is told to use clone.
    rules.add_rule(seccomp.ERRNO(errno.ENOSYS), "clone3")
    for family in families:
        number = int(getattr(socket, family))
        rules.add_rule(seccomp.ALLOW, "socket", seccomp.Arg(0, seccomp.EQ, number))
    rules.load()
    os.execv(program[0], program)


main()
