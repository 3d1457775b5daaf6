#!/bin/sh
# The first process of a user-mode Linux that has this machine's files, read-only. Its
# command line is its environment: PROGRAM, a test program, runs RUN in WHERE, and
# MODULES is where the kernel's own are.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs run /run
mkdir -p /run/modules/lib /run/tmp
ln -s "$MODULES" /run/modules/lib/modules
printf '#!/bin/sh\nexec modprobe -d /run/modules "$@"\n' >/run/modprobe
chmod +x /run/modprobe
echo /run/modprobe >/proc/sys/kernel/modprobe
/run/modprobe -a tun ipv6
# Before Linux 5.18 nothing random is to be had before the first keys and disks moved,
# of which there are none.
dd if=/dev/random of=/dev/null bs=1 count=1 2>/dev/null
ip link set lo up
echo "this is Linux $(uname -r)"
cd "$WHERE"
TMPDIR=/run/tmp "$PROGRAM" -test.v -test.run "$RUN"
echo "it ended with $?"
echo o >/proc/sysrq-trigger
sleep 60
