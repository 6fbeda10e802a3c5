"""A lab leaves the machine as it was, however it ends. Every test has a state directory of its own."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.client import LabClient, find_lab
from lab.errors import LabError, SystemRefused, TopologyError, UsageError
from lab.realise import sandbox
from lab.realise.run import wait_until
from lab.running import RunningLab, launch

ROOT = Path(__file__).resolve().parents[2]
TOPOLOGY = ROOT / "topologies" / "vlan-isolation.yaml"
VLAB = [sys.executable, "-m", "lab.cli"]
LIMITS = ("net/core", "net/ipv4/neigh", "kernel/pty/max", "kernel/pid_max", "fs/file-max", "fs/inotify")

LAUNCH_AND_DIE = """
import os, signal, sys
from lab.running import launch
calls = 0
def die(*_):
    global calls
    calls += 1
    if calls == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
with launch(sys.argv[1], name="doomed", progress=die):
    print("up", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A text that stands in the environment or command line of every process of this test's labs."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.chdir(ROOT)
    yield str(tmp_path)
    wait_until(lambda: not processes(str(tmp_path)), "processes of the lab")


def processes(mark: str) -> set[int]:
    """Processes of the whole machine that bear the mark; this one, which only set it, does not."""
    found = set()
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            try:
                text = (directory / "environ").read_bytes() + (directory / "cmdline").read_bytes()
            except OSError:
                continue
            if mark.encode() in text and int(directory.name) != os.getpid():
                found.add(int(directory.name))
    return found


def namespaces() -> set[str]:
    """The namespaces that this process holds open or is in."""
    links = []
    for directory in ("/proc/self/fd", "/proc/self/ns"):
        for path in Path(directory).iterdir():
            try:
                links.append(str(path.readlink()))
            except OSError:
                continue
    return {link for link in links if link.startswith(("net:", "mnt:", "pid:", "user:"))}


def mounts(mark: str) -> list[str]:
    return [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if mark in line]


def lock_is_free(directory: Path) -> bool:
    with (directory / "lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def assert_nothing_left(mark: str) -> None:
    wait_until(lambda: not processes(mark), "processes of the lab")
    wait_until(lambda: all(map(lock_is_free, Path(mark, "vlab").glob("*/"))), "the lock of the lab")
    assert mounts(mark) == []
    assert sandbox.living() == []
    assert list(Path(mark, "vlab").iterdir()) == []


def vlab(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*VLAB, *words], capture_output=True, text=True, timeout=60, **options)


def machine() -> dict[str, Any]:
    """Interfaces, addresses, routes and limits of the machine's own network namespace."""
    ip = {
        what: subprocess.run(["ip", *what.split()], capture_output=True, text=True, check=True).stdout
        for what in ("-o link", "rule", "route show table all", "neigh show nud permanent")
    }
    addresses = json.loads(subprocess.run(["ip", "-j", "addr"], capture_output=True, check=True).stdout)
    ip["addr"] = [[i["ifname"], [a["local"] for a in i["addr_info"]]] for i in addresses]  # type: ignore[assignment]
    files = [f for top in LIMITS for f in ([Path("/proc/sys", top)] if Path("/proc/sys", top).is_file() else
                                           sorted(Path("/proc/sys", top).rglob("*"))) if f.is_file()]  # fmt: skip
    limits = {str(f): f.read_bytes() for f in files if os.access(f, os.R_OK) and f.stat().st_mode & 0o400}
    return {**ip, "limits": limits, "namespaces": namespaces(), "cwd": Path.cwd(), "umask": os.umask(0o022)}


def test_the_machine_itself_is_unchanged_while_a_lab_is_up_and_after(mark: str) -> None:
    before = machine()
    with launch(TOPOLOGY) as lab:
        assert lab.exec("esx1", "ip", "-o", "link", "show", "vmnic0").returncode == 0
        assert machine() == before
        assert mounts(mark) == []
        assert len(processes(mark)) > 3
    assert machine() == before
    assert_nothing_left(mark)


def test_a_lab_has_namespaces_of_its_own() -> None:
    with launch(TOPOLOGY) as lab:
        own = {kind: str(Path(f"/proc/{lab.client.pid}/ns/{kind}").readlink()) for kind in ("net", "mnt", "pid")}
        assert not set(own.values()) & namespaces()
        inodes = {lab.exec(n, "readlink", "/proc/self/ns/net").stdout.strip() for n in ("esx1", "tor1", "web1", "db1")}
    assert len(inodes - {own["net"]}) == 4


def test_kill_9_of_the_daemon_ends_all_of_the_lab(mark: str) -> None:
    with launch(TOPOLOGY) as lab:
        os.kill(lab.client.pid, signal.SIGKILL)
        wait_until(lambda: not processes(mark), "processes of the lab")
        with pytest.raises(UsageError, match="has ended"):
            lab.client.ask("status")
    assert_nothing_left(mark)


def test_kill_9_of_unshare_ends_all_of_the_lab(mark: str) -> None:
    with launch(TOPOLOGY) as lab:
        (parent,) = [
            int(line.split()[1])
            for line in Path(f"/proc/{lab.client.pid}/status").read_text().splitlines()
            if line.startswith("PPid")
        ]
        os.kill(parent, signal.SIGKILL)
        wait_until(lambda: not processes(mark), "processes of the lab")
    assert_nothing_left(mark)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda n: n.name)
def test_a_signal_to_the_daemon_ends_all_of_the_lab(mark: str, number: signal.Signals) -> None:
    with launch(TOPOLOGY) as lab:
        os.kill(lab.client.pid, number)
        wait_until(lambda: not processes(mark), "processes of the lab")
    assert_nothing_left(mark)


@pytest.mark.parametrize("call", [1, 2, 4], ids=["cables are there", "one switch", "all switches"])
def test_kill_9_of_the_launching_process_during_start_up_leaves_nothing(mark: str, call: int) -> None:
    died = subprocess.run([sys.executable, "-c", LAUNCH_AND_DIE, str(TOPOLOGY), str(call)], timeout=60)
    assert died.returncode == -signal.SIGKILL
    assert_nothing_left(mark)


@pytest.mark.parametrize("file", ["log", "run", "run/ovs", "lab.json"])
def test_kill_9_of_the_launching_process_when_a_file_appears_leaves_nothing(mark: str, file: str) -> None:
    watched = Path(mark, "vlab", "doomed", file)
    argv = [sys.executable, "-c", LAUNCH_AND_DIE, str(TOPOLOGY), "0"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as launching:
        wait_until(lambda: any(Path(f"/proc/{p}/root{watched}").exists() for p in processes(mark)), file)
        launching.kill()
    assert launching.returncode == -signal.SIGKILL
    assert_nothing_left(mark)


def test_kill_9_of_the_launching_process_of_a_running_lab_leaves_nothing(mark: str) -> None:
    argv = [sys.executable, "-c", LAUNCH_AND_DIE, str(TOPOLOGY), "0"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as launching:
        assert launching.stdout is not None and launching.stdout.readline() == "up\n"
        assert find_lab("doomed").ask("status")["ended"] == {}
        launching.kill()
    assert_nothing_left(mark)


@pytest.mark.parametrize("call", [1, 2], ids=["cables are there", "one switch"])
def test_a_daemon_that_dies_during_start_up_is_an_error_and_leaves_nothing(mark: str, call: int) -> None:
    calls: list[str] = []

    def kill(step: str, *_: int) -> None:
        calls.append(step)
        if len(calls) == call:
            for pid in Path("/proc/thread-self/children").read_text().split():
                os.kill(int(pid), signal.SIGKILL)

    with pytest.raises(LabError), launch(TOPOLOGY, progress=kill):
        pytest.fail("a lab without a daemon is up")
    assert_nothing_left(mark)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_block_that_raises_ends_the_lab_and_the_error_comes_out(mark: str, error: type[BaseException]) -> None:
    with pytest.raises(error, match="on purpose"), launch(TOPOLOGY):
        raise error("on purpose")
    assert_nothing_left(mark)


def test_an_interrupt_during_start_up_leaves_nothing(mark: str) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), launch(TOPOLOGY, progress=interrupt):
        pytest.fail("the lab is up")
    assert_nothing_left(mark)


WITHOUT = """
set -e
mount --bind {place} {kept}
mount --bind {links} {place}
exec {python} -m lab.cli {words}
"""


def run_without(tool: Path, words: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run vlab where `tool` is not installed: a mount namespace whose directory has links to all but that."""
    kept, links = directory / "kept", directory / "links"
    kept.mkdir()
    links.mkdir()
    for path in tool.parent.iterdir():
        if path.name != tool.name:
            (links / path.name).symlink_to(kept / path.name)
    script = WITHOUT.format(place=tool.parent, kept=kept, links=links, python=sys.executable, words=words)
    return subprocess.run(["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("tool", "package"),
    [
        ("/usr/sbin/ovs-vswitchd", "openvswitch-switch"),
        ("/usr/sbin/ovsdb-server", "openvswitch-switch"),
        ("/usr/bin/ovsdb-tool", "openvswitch-switch"),
        ("/usr/bin/unshare", "util-linux"),
    ],
)
def test_a_tool_that_is_missing_is_named_with_its_package_and_nothing_is_left(
    mark: str, tool: str, package: str, tmp_path: Path
) -> None:
    done = run_without(Path(tool), f"up {TOPOLOGY}", tmp_path)
    assert (done.returncode, done.stdout) == (4, "")
    assert f"{Path(tool).name} is not installed" in done.stderr and package in done.stderr
    assert_nothing_left(mark)


def test_a_start_whose_file_is_wrong_leaves_nothing(mark: str, tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text(TOPOLOGY.read_text().replace("vlan: 20", "vlan: 5000"))
    with pytest.raises(TopologyError, match=r"broken\.yaml:25:18"), launch(broken):
        pytest.fail("the lab is up")
    assert processes(mark) == set()


@pytest.mark.skipif(Path("/sys/module/openvswitch").exists(), reason="this kernel has the openvswitch module")
def test_a_datapath_that_the_kernel_lacks_leaves_nothing(mark: str) -> None:
    done = vlab("up", str(TOPOLOGY), "--datapath", "kernel")
    assert done.returncode == 4
    assert "openvswitch" in done.stderr
    assert_nothing_left(mark)


@pytest.mark.parametrize(("directory", "exit_code"), [("absent", 5), (".", 0)], ids=["absent", "there"])
def test_a_state_directory_that_cannot_be_made_is_refused(mark: str, directory: str, exit_code: int) -> None:
    done = vlab("list", env={**os.environ, "XDG_RUNTIME_DIR": str(Path(mark, directory))})
    assert done.returncode == exit_code


@pytest.mark.parametrize("mode", [0o777, 0o770])
def test_a_state_directory_that_others_can_write_is_refused(mark: str, mode: int) -> None:
    assert sandbox.living() == []
    Path(mark, "vlab").chmod(mode)
    with pytest.raises(SystemRefused, match="not a directory of yours alone"):
        sandbox.living()


def canaries(lab: RunningLab, sender: str) -> int:
    with lab.capture("web2") as seen:
        if sender:
            lab.send(sender, "web2", count=5, kind="raw")
    return sum(frame.ethertype == 0x88B5 for frame in seen.frames)


def test_two_labs_of_one_file_do_not_meet() -> None:
    with launch(TOPOLOGY, name="one") as one, launch(TOPOLOGY, name="two") as two:
        assert {d.name for d in sandbox.living()} == {"one", "two"}
        with two.capture("web1", "web2", "esx1", "esx2", "tor1") as elsewhere:
            assert canaries(one, "web1") == 5
        assert [frame for frame in elsewhere.frames if frame.ethertype == 0x88B5] == []
        assert canaries(two, "web1") == 5


def test_a_cable_pulled_in_one_lab_stays_plugged_in_another_of_the_same_file() -> None:
    with launch(TOPOLOGY, name="one") as one, launch(TOPOLOGY, name="two") as two:
        one.link("esx1:vmnic0", up=False)
        links = [lab.exec("esx1", "ip", "-o", "link", "show", "vmnic0").stdout for lab in (one, two)]
        assert ["LOWER_UP" in link for link in links] == [False, True]


def test_a_name_that_is_taken_is_refused_and_the_lab_that_has_it_lives_on() -> None:
    with launch(TOPOLOGY, name="mine") as lab:
        with pytest.raises(UsageError, match="'mine' is up already"), launch(TOPOLOGY, name="mine"):
            pytest.fail("two labs of one name")
        assert lab.exec("web1", "true").returncode == 0
        assert find_lab("mine").pid == lab.client.pid
    with launch(TOPOLOGY, name="mine"):
        assert [d.name for d in sandbox.living()] == ["mine"]


@pytest.mark.parametrize("name", ["../out", ".hidden", " ", "a/b"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="no name for a lab"), launch(TOPOLOGY, name=name):
        pytest.fail("the lab is up")
    assert sandbox.living() == []


def test_a_name_that_linux_would_not_take_is_a_name_for_a_lab() -> None:
    name = "Büro 2. Stock, " + "x" * 60
    with launch(TOPOLOGY, name=name) as lab:
        assert find_lab(name).pid == lab.client.pid


def leave_stale(mark: str) -> Path:
    """What a lab leaves in its directory when it dies by `kill -9`, and a way out of it."""
    stale = Path(mark, "vlab", "vlan-isolation")
    (stale / "run" / "ovs").mkdir(parents=True)
    Path(mark, "vlab").chmod(0o700)
    (stale / "lock").touch()
    (stale / "lab.json").write_text("{")
    outside = Path(mark, "outside")
    outside.mkdir()
    (outside / "precious").touch()
    (stale / "way out").symlink_to(outside)
    return outside / "precious"


def test_what_a_dead_lab_left_is_removed_by_list_and_nothing_else_is(mark: str) -> None:
    precious = leave_stale(mark)
    done = vlab("list", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, [])
    assert list(Path(mark, "vlab").iterdir()) == []
    assert precious.exists()


def test_what_a_dead_lab_left_does_not_keep_its_name(mark: str) -> None:
    precious = leave_stale(mark)
    with launch(TOPOLOGY) as lab:
        assert LabClient(lab.client.directory).facts["name"] == "vlan-isolation"
        assert not (lab.client.directory / "way out").exists()
    assert precious.exists()
    assert_nothing_left(mark)


def test_up_outlives_its_command_and_down_ends_it(mark: str) -> None:
    up = vlab("up", str(TOPOLOGY), "--json")
    assert (up.returncode, up.stderr) == (0, "")
    (listed,) = json.loads(vlab("list", "--json").stdout)
    assert listed == json.loads(up.stdout)
    assert set(listed) == {"name", "file", "since", "hosts", "vms", "datapath", "pid"}
    assert (listed["name"], listed["hosts"], listed["vms"]) == ("vlan-isolation", 2, 4)
    assert listed["pid"] in processes(mark)
    assert vlab("up", str(TOPOLOGY)).returncode == 2
    down = vlab("down", "vlan-isolation")
    assert down.returncode == 0
    assert json.loads(vlab("list", "--json").stdout) == []
    assert_nothing_left(mark)


def test_down_all_ends_every_lab(mark: str) -> None:
    for name in ("one", "two"):
        assert vlab("up", str(TOPOLOGY), "--name", name).returncode == 0
    ambiguous = vlab("down")
    assert ambiguous.returncode == 2 and "one" in ambiguous.stderr and "two" in ambiguous.stderr
    assert vlab("down", "--all").returncode == 0
    assert_nothing_left(mark)


def test_down_of_an_unknown_lab_is_exit_2_and_names_the_nearest() -> None:
    with launch(TOPOLOGY, name="office"):
        done = vlab("down", "offcie")
        assert (done.returncode, done.stdout) == (2, "")
        assert "'offcie'" in done.stderr and "did you mean office?" in done.stderr
        assert [d.name for d in sandbox.living()] == ["office"]


def test_sandbox_runs_a_command_apart_and_gives_its_exit_code() -> None:
    done = vlab("sandbox", "--", "sh", "-c", "ls /sys/class/net /proc/self/ns >&2; readlink /proc/self/ns/net; exit 7")
    assert done.returncode == 7
    assert done.stdout.strip() not in namespaces()
