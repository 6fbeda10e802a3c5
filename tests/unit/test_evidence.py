"""Evidence folders: commented captures, and what a manifest tells of later."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.answers.evidence import comment_of, free_directory, verify_evidence
from lab.errors import UsageError
from lab.frame import Hop, Point, Tag
from lab.observe.pcapng import CaptureFile, survey
from lab.observe.pcapng_write import Noted, write_pcapng
from lab.report.where import Caught

HOP = Hop("esx1", "esx1", Point.UPLINK_SND, "out", "vmnic0", (Tag(10),), "02:00:00:00:00:01", "02:00:00:00:00:02")


def test_a_written_capture_is_read_with_names_times_and_comments(tmp_path: Path) -> None:
    packets = [Noted("esx1:vmnic0", 1795865737934410259, b"a" * 61, "hop 1"), Noted("tor1:x", 2, b"b" * 60, "høp 2")]
    write_pcapng(tmp_path / "a.pcapng", "evidence", packets)
    with CaptureFile(tmp_path / "a.pcapng") as file:
        assert [(p.interface, p.time_ns, p.data, p.comment) for p in file.find(b"")] == packets
    assert survey(tmp_path / "a.pcapng")[::3] == ("evidence", None)


def test_a_packets_comment_says_where_it_was_and_who_decided() -> None:
    told = comment_of(Caught(0, 4, HOP._replace(statements=("FWD-4", "VLAN-3")), b""))
    assert told == "esx1 UplinkSnd vmnic0, VLAN 10, hop 4, frame 1, decided by FWD-4 VLAN-3"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "answer.json").write_text("{}")
    digest = hashlib.sha256(b"{}").hexdigest()
    files = {"answer.json": {"sha256": digest, "bytes": 2}}
    (tmp_path / "manifest.json").write_text(json.dumps({"schema": 1, "made": "today", "files": files}))
    return tmp_path


def test_an_untouched_folder_is_as_it_was(folder: Path) -> None:
    checked = verify_evidence(folder)
    assert (checked.files, checked.wrong) == (1, ())
    assert checked.manifest == hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()


TAMPERED: list[tuple[Callable[[Path], object], str]] = [
    (lambda p: (p / "answer.json").write_text("[]"), "answer.json has been changed"),
    (lambda p: (p / "answer.json").unlink(), "answer.json is missing"),
    (lambda p: (p / "more.txt").write_text(""), "more.txt is not in the manifest"),
]


@pytest.mark.parametrize(("change", "said"), TAMPERED, ids=[said for _, said in TAMPERED])
def test_a_change_is_named(folder: Path, change: Callable[[Path], object], said: str) -> None:
    change(folder)
    assert verify_evidence(folder).wrong == (said,)


@pytest.mark.parametrize("manifest", [None, "{", "[]", '{"files": {"a": 1}, "made": ""}'])
def test_what_is_no_evidence_folder_is_refused(tmp_path: Path, manifest: str | None) -> None:
    if manifest is not None:
        (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(UsageError):
        verify_evidence(tmp_path)


def test_evidence_is_never_written_over(folder: Path) -> None:
    with pytest.raises(UsageError, match="never written over"):
        free_directory(folder)
    free_directory(folder / "new")
