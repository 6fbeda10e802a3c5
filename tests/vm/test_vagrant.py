"""What Vagrant says of the project's own Vagrantfile without a VM."""

from __future__ import annotations

from vagrant import Vagrant


def test_the_vagrantfile_is_valid(vagrant: Vagrant) -> None:
    assert "validated successfully" in vagrant("validate")
