"""The project's own Vagrantfile through Vagrant and libvirt's session mode, on a machine without KVM.

What emulation and session mode need stands in the box that is made here, as a user's box may bring settings of its own.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import socket
import subprocess
from pathlib import Path

from image import Image
from machine import CLONE, Machine

BOX = "debian/bookworm64"
DISK_GB = 8
UP_SECONDS = 1500.0
_PROGRESS = re.compile(r"(\x1b\[K)?Progress: \d+%\s*")
BOX_VAGRANTFILE = """
Vagrant.configure("2") do |config|
  config.ssh.host = "127.0.0.1"
  config.ssh.port = {port}
  config.vm.boot_timeout = 900
  config.vm.network :public_network, type: "user", auto_config: false
  config.vm.provider :libvirt do |libvirt|
    libvirt.driver = "qemu"
    libvirt.uri = libvirt.system_uri = "qemu:///session"
    libvirt.qemu_use_session = true
    libvirt.mgmt_attach = false
    libvirt.graphics_type = "none"
    libvirt.channel type: "unix", target_name: "org.qemu.guest_agent.0", target_type: "virtio"
    libvirt.qemu_use_agent = true
    libvirt.kernel = "{kernel}"
    libvirt.initrd = "{initrd}"
    libvirt.cmd_line = "root=/dev/vda rw console=ttyS0 net.ifnames=0 quiet"
    libvirt.qemuargs value: "-netdev"
    libvirt.qemuargs value: "user,id=ssh,net=10.0.3.0/24,hostfwd=tcp:127.0.0.1:{port}-:22"
    libvirt.qemuargs value: "-device"
    libvirt.qemuargs value: "virtio-net-pci,netdev=ssh,addr=0x10"
  end
end
"""


class Vagrant:
    """Vagrant as an ordinary user with a home of its own; `up()` first, `destroy()` last."""

    def __init__(self, place: Path, share: str = "rsync", user: str = "nobody") -> None:
        self.home = place
        self._account = pwd.getpwnam(user)
        self.project = place / "project"
        runtime = place / "runtime"
        for directory in (self.project, runtime):
            directory.mkdir(parents=True, exist_ok=True)
        place.chmod(0o755)
        runtime.chmod(0o700)
        self.environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(place), "USER": user, "LANG": "C.UTF-8",
            "VAGRANT_HOME": str(place / "vagrant.d"), "XDG_RUNTIME_DIR": str(runtime), "VAGRANT_NO_COLOR": "1",
            "VLAB_SHARE": share,
        }  # fmt: skip

    def copy_clone(self) -> None:
        excluded = [f"--exclude={name}" for name in (".git", ".venv", ".vagrant", "captures", "*_cache", "__pycache__")]
        _run(["rsync", "-a", *excluded, f"{CLONE}/", str(self.project)])
        self._own(self.home)

    def add_box(self, image: Image) -> None:
        """A box of the image, with the name that the project's Vagrantfile asks for."""
        box = self.home / "box"
        box.mkdir(exist_ok=True)
        shutil.copy(image.disk, box / "box.img")
        (box / "metadata.json").write_text(
            json.dumps({"provider": "libvirt", "format": "qcow2", "virtual_size": DISK_GB})
        )
        kernel, initrd = (self._readable(path) for path in (image.kernel, image.initrd))
        (box / "Vagrantfile").write_text(BOX_VAGRANTFILE.format(port=_free_port(), kernel=kernel, initrd=initrd))
        _run(["tar", "-C", str(box), "-cf", str(self.home / "vm.box"), "metadata.json", "Vagrantfile", "box.img"])
        shutil.rmtree(box)
        self._own(self.home)
        self("box", "add", "--force", "--name", BOX, str(self.home / "vm.box"))

    def up(self) -> str:
        return self("up", "--provider", "libvirt", timeout=UP_SECONDS)

    def machine(self) -> Machine:
        """The VM by ssh of our own, which costs a tenth of `vagrant ssh`."""
        said = dict(line.split(maxsplit=1) for line in self("ssh-config").splitlines() if line.startswith("  "))
        return Machine(int(said["Port"]), Path(said["IdentityFile"].strip('"')))

    def destroy(self) -> None:
        self("destroy", "--force", check=False)

    def ssh(self, command: str, timeout: float = 600.0) -> str:
        return self("ssh", "-c", command, timeout=timeout)

    def __call__(self, *words: str, timeout: float = 300.0, check: bool = True) -> str:
        """`vagrant WORDS` in the project's copy; what it printed. Raises AssertionError when it failed."""
        user, group = self._account.pw_uid, self._account.pw_gid
        done = subprocess.run(
            ["vagrant", *words], cwd=self.project, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=timeout, user=user, group=group, extra_groups=[],
        )  # fmt: skip
        if check and done.returncode:
            said = _PROGRESS.sub("", f"{done.stdout}\n{done.stderr}")
            said = said if len(said) < 8000 else f"{said[:5000]}\n...\n{said[-3000:]}"
            raise AssertionError(f"vagrant {' '.join(words)}: exit status {done.returncode}\n{said}")
        return _PROGRESS.sub("", done.stdout + done.stderr)

    def _readable(self, path: Path) -> Path:
        return Path(shutil.copy(path, self.home / path.name))

    def _own(self, path: Path) -> None:
        _run(["chown", "-R", f"{self._account.pw_uid}:{self._account.pw_gid}", str(path)])


def _run(argv: list[str]) -> None:
    subprocess.run(argv, check=True, env={**os.environ, "LANG": "C.UTF-8"})


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
