#!/bin/bash
# First process of the lab kernel. Argument: the private directory of this run, on the host.
#
# The host's file system is the root, so all that runs here sees an overlay over it: what is
# written stays in memory, but for the private directory and the results.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8
private=$1
source "$private/guest.env" # guest_python guest_path guest_out guest_tty

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /run
modules=/usr/lib/uml/modules/$(uname -r)
insmod "$modules/kernel/fs/overlayfs/overlay.ko"
mkdir /run/upper /run/work /run/root
mount -t overlay -o lowerdir=/,upperdir=/run/upper,workdir=/run/work overlay /run/root
for own in proc sysfs:sys devtmpfs:dev devpts:dev/pts tmpfs:run; do
    mkdir -p "/run/root/${own#*:}"
    mount -t "${own%:*}" "${own%:*}" "/run/root/${own#*:}"
done
for shared in "$private" "$guest_out"; do
    mkdir -p "/run/root$shared"
    mount --bind "$shared" "/run/root$shared"
done
mkdir -p /run/root/lib/modules /run/root/hostfs
ln -sfn "$modules" "/run/root/lib/modules/$(uname -r)"
# Not chroot: entering a mount namespace of a node leads to the namespace's own root.
cd /run/root
pivot_root . hostfs
umount -l /hostfs
modprobe -aq ip_vs ip_vs_rr ip_vs_wrr ip_vs_lc ip_vs_wlc ip_vs_sh ip_vs_dh ip_vs_mh ip_vs_sed \
    ip_vs_nq ip_vs_fo ip_vs_ovf ip_vs_lblc ip_vs_lblcr \
    veth bridge dummy macvlan 8021q ipip sch_netem nf_conntrack
hostname lab
ip link set lo up

export PYTHONPATH=$guest_path PYTHONDONTWRITEBYTECODE=1
tty=/dev/tty1
if [ "$guest_tty" = raw ]; then stty raw -echo; else stty sane ${guest_size}; fi <$tty
setsid -cw "$guest_python" -m labkit --inside "$private" <$tty >$tty 2>&1
halt -f
