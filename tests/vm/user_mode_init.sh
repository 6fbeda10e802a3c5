#!/bin/bash
# PID 1 of a User-mode Linux whose root is the host's, read-only: writes go to memory, and to /mnt/share.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
modules=(overlay openvswitch vport-vxlan vxlan veth bridge 8021q ifb tun sch_netem sch_htb sch_tbf sch_prio
    sch_fq_codel sch_ingress cls_u32 cls_flower cls_matchall act_mirred act_police)

begin() {
    mount -t proc proc /proc || return
    kernel=$(sed -n 's/.*kernel_files=\([^ ]*\).*/\1/p' /proc/cmdline)
    modprobe --dirname "$kernel" --all "${modules[@]}" || return
    mount -t tmpfs tmpfs /mnt && mkdir /mnt/upper /mnt/work /mnt/root || return
    mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work /mnt/root || return
    cd /mnt/root || return
    mount -t proc proc proc && mount -t sysfs sysfs sys && mount -t cgroup2 cgroup2 sys/fs/cgroup || return
    mount -t devtmpfs dev dev && mkdir -p dev/pts dev/shm || return
    ln -sfn /proc/self/fd dev/fd
    mount -t devpts devpts dev/pts && mount -t tmpfs shm dev/shm && mount -t tmpfs run run || return
    mkdir -p mnt/share mnt/host
    mount -t hostfs share mnt/share -o /share || return
    # Not chroot: who enters another mount namespace comes to its root.
    pivot_root . mnt/host && cd / || return
    ip link set lo up
    # Open vSwitch counts processors anew when ten seconds have passed since it last did, and takes the machine's start
    # for the first time: before, it finds none and starts no thread that decides about frames.
    while [ "$(cut -d. -f1 /proc/uptime)" -lt 11 ]; do sleep 0.1; done
    bash /mnt/share/job >/mnt/share/said 2>&1
}

begin
echo $? >/mnt/share/status
sync
echo o >/proc/sysrq-trigger
sleep 10
