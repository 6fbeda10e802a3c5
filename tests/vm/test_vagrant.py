"""`vagrant up` with the project's own Vagrantfile, on a box of the bare image."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest
from image import Image
from machine import say
from vagrant import Vagrant

HAS_LIBVIRT = shutil.which("libvirtd", path="/usr/sbin:/usr/bin") and Path("/usr/share/doc/vagrant-libvirt").exists()


@pytest.fixture(scope="module")
def vagrant(place: Path) -> Iterator[Vagrant]:
    """Vagrant in a copy of the project; its VM, if one was made, is gone at the end."""
    if shutil.which("vagrant") is None:
        pytest.skip("this machine lacks vagrant: ./vlab test --vm installs it")
    home = place / "vagrant"
    ours = Vagrant(home)
    ours.copy_clone()
    yield ours
    ours.destroy()
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def up(vagrant: Vagrant, bare: Image) -> Vagrant:
    if not HAS_LIBVIRT:
        say("Vagrant is here without libvirt: `vagrant validate` and the plain boot stand in for `vagrant up`")
        pytest.skip("this machine lacks vagrant-libvirt or libvirtd")
    vagrant.add_box(bare)
    begun = monotonic()
    vagrant.up()
    say(f"vagrant up, provisioning from bare: {monotonic() - begun:.0f} s")
    return vagrant


def test_the_vagrantfile_is_valid(vagrant: Vagrant) -> None:
    assert "validated successfully" in vagrant("validate")


def test_the_demo_runs_by_vagrant_ssh_and_its_captures_come_to_the_host(up: Vagrant) -> None:
    said = up.ssh("vlab demo")
    assert "as predicted" in said
    assert list(up.project.glob("captures/vlab-demo-*/where/*.pcapng"))


def test_vagrant_provision_again_is_harmless(up: Vagrant) -> None:
    said = up("provision", timeout=600.0)
    assert "ready: " in said
    assert "installing" not in said
