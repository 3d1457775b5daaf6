#!/bin/sh
# Makes a machine to install things on: box.sh DIR PACKAGES bare|booted. It needs
# root and runs in the network namespace of the gateway. Its files are this
# machine's, seen through an overlay in memory, with PACKAGES as /mnt. A bare one
# runs nothing. A booted one has processes of its own, of which systemd is the
# first, a control group named after DIR, and of this machine's units none.
# Everything vanishes with it.
set -e
case $3 in
bare | booted)
	exec unshare --mount sh "$0" "$1" "$2" "$3-mounts"
	;;
booted-mounts)
	mkdir -p "$1/group"
	mount -t cgroup2 cgroup2 "$1/group"
	mkdir "$1/group/$(basename "$1")"
	echo $$ >"$1/group/$(basename "$1")/cgroup.procs"
	exec unshare --pid --fork --kill-child --uts --ipc --cgroup sh "$0" "$1" "$2" booted-first
	;;
esac
mkdir "$1/box"
mount -t tmpfs -o mode=755 box "$1/box"
mkdir "$1/box/changed" "$1/box/work" "$1/box/root"
mount -t overlay -o "lowerdir=/,upperdir=$1/box/changed,workdir=$1/box/work" overlay "$1/box/root"
packages=$(realpath "$2")
cd "$1/box/root"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys # this machine's; those of the network are the namespace's
mount --bind proc/sys/net proc/sys/net
mount -o remount,bind,rw proc/sys/net
mount -t tmpfs -o mode=755 dev dev
mkdir dev/net dev/shm dev/pts
for node in console null zero full random urandom tty net/tun; do
	touch "dev/$node"
	[ $node = console ] || mount --bind "/dev/$node" "dev/$node"
done
ln -s /proc/self/fd dev/fd
mount -t tmpfs -o mode=755 run run
mount -t tmpfs -o mode=1777 tmp tmp
mount --bind "$packages" mnt
rm -f usr/sbin/policy-rc.d # which keeps packages from their services in an image
if [ "$3" = booted-first ]; then
	mount -t cgroup2 cgroup2 sys/fs/cgroup
	mount -t tmpfs -o mode=755 units usr/lib/systemd/system
	mount -t tmpfs -o mode=755 units etc/systemd/system
	for target in sysinit basic multi-user shutdown network-pre network; do
		printf '[Unit]\nDescription=%s\nDefaultDependencies=no\n' $target >usr/lib/systemd/system/$target.target
	done
	mkdir -p run/systemd/system/service.d
	printf '[Service]\nStandardOutput=append:/run/log\nStandardError=append:/run/log\n' >run/systemd/system/service.d/log.conf
fi
mkdir run/machine
touch run/box
pivot_root . run/machine
umount -l /run/machine
rmdir /run/machine
if [ "$3" = booted-first ]; then
	exec env -i container=other PATH=/usr/sbin:/usr/bin SYSTEMD_GENERATOR_PATH=/run/none SYSTEMD_ENVIRONMENT_GENERATOR_PATH=/run/none \
		/usr/lib/systemd/systemd --system --unit=multi-user.target --log-target=console --show-status=no
fi
echo furnished
exec sleep infinity
