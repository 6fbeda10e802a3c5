"""What the ports and uplinks of a running lab's hosts have counted."""

from __future__ import annotations

from collections.abc import Sequence

from lab.client import LabClient
from lab.report.top import Counts, Reading, Sample
from lab.state_json import from_json


def sample(client: LabClient, hosts: Sequence[str] = ()) -> Sample:
    """One reading of every host, or of these. Raises UsageError for a host that is not there."""
    said = client.ask("counters", hosts=list(hosts))
    readings = {
        host: Reading(read["time_ns"], {port: Counts(**counts) for port, counts in read["ports"].items()})
        for host, read in said["hosts"].items()
    }
    return Sample(from_json(said["state"]), readings)
