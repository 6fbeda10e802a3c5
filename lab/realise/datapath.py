"""Which of Open vSwitch's datapaths this kernel can carry frames with."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from lab.errors import MachineLacks, SystemRefused
from lab.realise.run import run

KERNEL_MODULE = Path("/sys/module/openvswitch")


def kernel_has_datapath() -> bool:
    """Whether `--datapath kernel` can work: the module is there, or comes when it is asked for."""
    if not KERNEL_MODULE.exists():
        with suppress(SystemRefused, MachineLacks):
            run(["ovs-dpctl", "dump-dps"])  # a kernel that has the module loads it for whoever asks for its family
    return KERNEL_MODULE.exists()
