"""A disk image of a bare Debian, from Debian's own packages: what a user's new VM is, before any set-up.

Nothing of the lab is in it, unless it is asked for. Needs root, mmdebstrap and mke2fs; no loop device, no KVM.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

USER = "vagrant"
KERNELS = {"9p": "linux-image-amd64"}
"""By how the project's folder is shared: Debian's kernel for clouds has virtiofs and no 9p."""
BARE = (
    "systemd-sysv", "udev", "dbus", "openssh-server", "sudo", "rsync", "ca-certificates",
    "iproute2", "qemu-guest-agent", "kmod", "bash-completion", "procps",
)  # fmt: skip
SIZE = "8G"
OWN_SOURCES = Path("/etc/apt/sources.list.d/debian.sources")
ROOT_CERTIFICATES = Path("/usr/local/share/ca-certificates")
SUITES = {"bookworm": "Debian 12", "trixie": "Debian 13"}


@dataclass(frozen=True)
class Image:
    """A kernel to boot directly, its initial RAM disk, the disk (ext4, no partitions) and the key that opens it."""

    kernel: Path
    initrd: Path
    disk: Path
    key: Path

    @classmethod
    def within(cls, directory: Path) -> Image:
        return cls(*(directory / name for name in ("vmlinuz", "initrd.img", "disk.qcow2", "key")))

    @property
    def ready(self) -> bool:
        return all(path.exists() for path in (self.kernel, self.initrd, self.disk, self.key))


def build(directory: Path, suite: str = "bookworm", more: tuple[str, ...] = (), share: str = "rsync") -> Image:
    """Make it in `directory`, with the packages `more` beside the bare ones; `share` is what it must be able to mount.
    Raises RuntimeError."""
    directory.mkdir(parents=True, exist_ok=True)
    kernel = KERNELS.get(share, "linux-image-cloud-amd64")
    image, root, raw = Image.within(directory), directory / "root", directory / "disk.raw"
    for leftover in (root, raw, *(getattr(image, name) for name in ("kernel", "initrd", "disk", "key"))):
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink(missing_ok=True)
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "vlab-vm-test", "-f", str(image.key))
    run(
        "mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", f"--include={','.join((kernel, *BARE, *more))}",
        suite, str(root), *_sources(suite),
    )  # fmt: skip
    _settle(root, image.key.with_suffix(".pub").read_text())
    shutil.copy(next((root / "boot").glob("vmlinuz-*")), image.kernel)
    shutil.copy(next((root / "boot").glob("initrd.img-*")), image.initrd)
    run("mke2fs", "-q", "-t", "ext4", "-d", str(root), str(raw), SIZE)
    run("qemu-img", "convert", "-O", "qcow2", str(raw), str(image.disk))
    shutil.rmtree(root)
    raw.unlink()
    return image


def _sources(suite: str) -> list[str]:
    """Where this machine gets the same Debian from; nothing, which is mmdebstrap's own default, for another one."""
    return [str(OWN_SOURCES)] if OWN_SOURCES.exists() and f"Suites: {suite} " in OWN_SOURCES.read_text() else []


def mirror() -> str:
    """Where this machine gets Debian from."""
    said = re.search(r"^URIs: *(\S+)", OWN_SOURCES.read_text(), re.MULTILINE) if OWN_SOURCES.exists() else None
    return said[1] if said else "http://deb.debian.org/debian"


def _settle(root: Path, public_key: str) -> None:
    """A user with sudo and a key, a network by DHCP, and the certificates and names that this machine trusts."""
    run("chroot", str(root), "useradd", "--create-home", "--shell", "/bin/bash", USER)
    files = {
        "etc/hostname": "debian\n",
        "etc/hosts": "127.0.0.1 localhost\n127.0.1.1 debian\n",
        "etc/fstab": "/dev/vda / ext4 errors=remount-ro 0 1\n",
        "etc/resolv.conf": "nameserver 10.0.2.3\n",  # QEMU's user network
        "etc/systemd/network/eth.network": "[Match]\nName=eth*\n[Network]\nDHCP=ipv4\n",
        f"etc/sudoers.d/{USER}": f"{USER} ALL=(ALL) NOPASSWD: ALL\n",
        "etc/ssh/sshd_config.d/vm.conf": "UseDNS no\n",
        "etc/pip.conf": "[global]\ncert = /etc/ssl/certs/ca-certificates.crt\ndefault-timeout = 180\n"
        "[install]\nno-compile = no\n",  # which is how pip.conf says it: modules are compiled when they are used
        # Emulation is slow: no fsync for each file, nothing to read, and no service is started that no lab uses.
        "etc/dpkg/dpkg.cfg.d/vm": "force-unsafe-io\npath-exclude=/usr/share/doc/*\npath-exclude=/usr/share/man/*\n",
        "etc/apt/apt.conf.d/vm": 'Acquire::Languages "none";\n',
        "usr/sbin/policy-rc.d": "#!/bin/sh\nexit 101\n",
        f"home/{USER}/.ssh/authorized_keys": "".join((public_key, *_vagrant_keys())),
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(text)
    (root / "usr/sbin/policy-rc.d").chmod(0o755)
    for certificate in ROOT_CERTIFICATES.glob("*.crt"):
        shutil.copy(certificate, root / "usr/local/share/ca-certificates")
    run("chroot", str(root), "update-ca-certificates")
    run("chroot", str(root), "chown", "-R", f"{USER}:{USER}", f"/home/{USER}")
    run("chroot", str(root), "systemctl", "enable", "systemd-networkd.service", "ssh.service")


def _vagrant_keys() -> list[str]:
    """The public key that Vagrant knocks with at a new box, where Vagrant is installed."""
    return [path.read_text() for path in Path("/usr/share").glob("rubygems-integration/all/gems/vagrant-*/keys/*.pub")]


def run(*argv: str) -> None:
    """Raises RuntimeError with what it said last."""
    done = subprocess.run(argv, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{argv[0]} failed with {done.returncode}: {(done.stderr or done.stdout).strip()[-2000:]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--suite", choices=SUITES, default="bookworm")
    parser.add_argument("--with", dest="more", default="", help="further packages, separated by commas")
    given = parser.parse_args()
    print(build(given.directory, given.suite, tuple(filter(None, given.more.split(",")))).disk)


if __name__ == "__main__":
    main()
