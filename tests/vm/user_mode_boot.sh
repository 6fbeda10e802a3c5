# Boots Debian's User-mode Linux with this machine's own files as its root. Run in mount and PID namespaces of its own:
#   user_mode_boot.sh KERNEL SHARE MEMORY        KERNEL: a directory with Debian's package in it, its libc beside it
# What is done in the guest stands in SHARE/job; SHARE is /mnt/share there.
set -euo pipefail
kernel=$1 share=$2 memory=$3
mount --make-rprivate /
mount --rbind / "$kernel/host"
mount --bind "$share" "$kernel/share"
mount -t proc proc "$kernel/proc"
mount --rbind /dev "$kernel/dev"
mount -t tmpfs -o size="$memory",mode=1777 tmpfs "$kernel/tmp" # the guest's memory is a file here
export HOME=/root
install -m 755 "$(dirname "$(readlink -f "$0")")/user_mode_init.sh" "$kernel/init" # a path that can have no spaces
# A panic aborts, which PID 1 could not: so no exec.
chroot "$kernel" /usr/bin/linux.uml uml_dir=/tmp mem="$memory" seccomp=auto con=null con0=fd:0,fd:1 quiet \
    rootfstype=hostfs rootflags=/host ro init="$kernel/init" kernel_files="$kernel"
