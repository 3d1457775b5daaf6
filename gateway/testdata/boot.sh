#!/bin/sh
# Boots the machine's own systemd as the first process of a machine of its own:
# boot.sh DIR GATEWAYD. It needs root and runs in the network namespace of the
# gateway. Everything else is new and vanishes with it: processes, mounts, host
# name and a control group named after DIR. DIR/machine becomes its root, DIR is
# seen there as /lab, and units come from DIR/units alone. /usr is the machine's, seen
# through an overlay in which GATEWAYD is /usr/bin/gatewayd.
set -e
if [ "$3" != inside ]; then
	exec unshare --mount sh -e "$0" "$1" "$2" inside # the mounts, and below all else, in its control group
fi
if [ "$4" != booted ]; then
	mount --make-rprivate /
	mkdir -p "$1/machine" "$1/group"
	mount -t cgroup2 cgroup2 "$1/group"
	group=$1/group/$(basename "$1")
	mkdir "$group"
	echo $$ >"$group/cgroup.procs"
	exec unshare --pid --fork --kill-child --uts --ipc --cgroup sh -e "$0" "$1" "$2" inside booted
fi
root=$1/machine
mount -t tmpfs -o mode=755 machine "$root"
cd "$root"
mkdir -p usr .upper .work etc/systemd/system etc/gatewayd run var tmp root home proc sys dev lab
mount -t overlay -o "lowerdir=/usr,upperdir=$root/.upper,workdir=$root/.work" usr usr
cp "$2" usr/bin/gatewayd
for link in bin sbin lib lib32 lib64; do
	[ ! -L "/$link" ] || cp -P "/$link" .
done
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys # the machine's; those of the network are the namespace's
mount --bind proc/sys/net proc/sys/net
mount -o remount,bind,rw proc/sys/net
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 dev dev
mkdir dev/net dev/shm dev/pts
for node in null zero full random urandom tty net/tun; do
	touch "dev/$node"
	mount --bind "/dev/$node" "dev/$node"
done
touch dev/console "$1/console"
mount --bind "$1/console" dev/console
mount -t tmpfs -o mode=755 run run
mount --bind "$1" lab
cp -R "$1/units/." etc/systemd/system
cp "$1/gatewayd.yaml" etc/gatewayd
echo 0123456789abcdef0123456789abcdef >etc/machine-id
echo root:x:0:0:root:/root:/bin/sh >etc/passwd
echo root:x:0: >etc/group
mkdir .old
pivot_root . .old
umount -l /.old
exec env -i container=other PATH=/usr/sbin:/usr/bin SYSTEMD_UNIT_PATH=/etc/systemd/system \
	/usr/lib/systemd/systemd --system --unit=multi-user.target --log-target=console --show-status=no
