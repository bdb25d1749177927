#!/usr/bin/env bash
# Runs a script under a service manager of its own: systemd_live_boot.sh FOLDER REPOSITORY SCRIPT. The manager is process 1 of new namespaces,
# on this machine's files with everything that it writes in memory, in a network of its own; /run/source is the repository and /run/out
# FOLDER. When the script ends the manager does, and nothing of either is left. Needs root.
set -euo pipefail

if [ "${1:-}" != inside ]; then
  group=postern-test-$$
  roots=(/sys/fs/cgroup/systemd /sys/fs/cgroup/unified)
  if [ -e /sys/fs/cgroup/cgroup.procs ]; then roots=(/sys/fs/cgroup); fi
  for root in "${roots[@]}"; do mkdir "$root/$group"; done
  # A shell of its own goes into the group, so that this one can remove it.
  bash -c 'for group in "${@:5}"; do echo $$ >"$group/cgroup.procs"; done
    exec unshare --mount --pid --fork --kill-child --uts --ipc --net --cgroup bash "$1" inside "$2" "$3" "$4"' \
    boot "${BASH_SOURCE[0]}" "$1" "$2" "$3" "${roots[@]/%//$group}" || true
  for root in "${roots[@]}"; do
    find "$root/$group" -depth -type d -exec rmdir {} \; || true
  done
  exit 0
fi

out=$2 source=$3 script=$4
mount --make-rprivate /
memory=$(mktemp -d "$out/memory.XXXXXX")
mount -t tmpfs tmpfs "$memory"
root=$memory/root
mkdir "$memory/upper" "$memory/work" "$root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$memory/upper,workdir=$memory/work" "$root"
mount -t proc proc "$root/proc"
# The manager sets limits of the whole kernel when it starts; not here.
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
if [ -e /sys/fs/cgroup/cgroup.procs ]; then
  mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
else
  mount -t tmpfs tmpfs "$root/sys/fs/cgroup"
  mkdir "$root/sys/fs/cgroup/systemd" "$root/sys/fs/cgroup/unified"
  mount -t cgroup -o none,name=systemd cgroup "$root/sys/fs/cgroup/systemd"
  mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup/unified"
fi
for folder in run tmp; do mount -t tmpfs tmpfs "$root/$folder"; done
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
mkdir "$root/dev/shm" "$root/dev/net" "$root/dev/pts"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
mount -t tmpfs tmpfs "$root/dev/shm"
for device in null zero full random urandom tty; do
  if [ -e "/dev/$device" ]; then touch "$root/dev/$device" && mount --bind "/dev/$device" "$root/dev/$device"; fi
done
# As machines with a service manager have it: everybody may open it, and only who has the capability may make a device.
if [ -e /dev/net/tun ]; then mknod -m 0666 "$root/dev/net/tun" c 10 200; fi
ln -s /proc/self/fd "$root/dev/fd"
touch "$root/dev/console"
mkdir "$root/run/source" "$root/run/out"
mount --bind "$source" "$root/run/source"
mount --bind "$out" "$root/run/out"
ip link set lo up

# None of this machine's own units: only what a unit needs by default, and the script.
rm -rf "$root/etc/systemd/system"
mkdir "$root/etc/systemd/system"
: >"$root/etc/fstab"
cat >"$root/etc/systemd/system/script.target" <<'UNIT'
[Unit]
DefaultDependencies=no
AllowIsolate=yes
Wants=script.service
UNIT
cat >"$root/etc/systemd/system/script.service" <<UNIT
[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
ExecStart=/bin/bash /run/source/$script
StandardOutput=file:/run/out/output
StandardError=file:/run/out/output
ExecStopPost=/bin/systemctl --force exit
UNIT
# The manager passes mounts on to its services, credentials among them.
mount --make-rshared /
exec chroot "$root" /usr/bin/env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --unit=script.target \
  --log-target=console --show-status=no
