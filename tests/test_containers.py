"""What a container grants, in both versions of Linux's control groups."""

import sys

import pytest

from sparsedsl.containers import core_limit, granted_cores, memory_limit
from sparsedsl.options import Options
from sparsedsl.runtime.memory import UNBOUNDED, memory_bytes

VERSIONS = pytest.mark.parametrize("second", [True, False], ids=["version 2", "version 1"])


def write(folder, **texts):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name.replace("__", ".")).write_text(f"{text}\n")


@VERSIONS
def test_the_least_limit_of_memory_on_the_way_up_holds(tmp_path, second):
    groups, root = tmp_path / "cgroup", tmp_path / "fs"
    groups.write_text("0::/pod/task\n" if second else "9:cpu:/x\n4:hugetlb,memory:/pod/task\n")
    top, name = (root, "memory__max") if second else (root / "memory", "memory__limit_in_bytes")
    assert memory_limit(groups, root) is None
    write(top, **{name: 9000})
    assert memory_limit(groups, root) == 9000
    write(top / "pod" / "task", **{name: "max"})
    assert memory_limit(groups, root) == 9000
    write(top / "pod", **{name: 5000})
    assert memory_limit(groups, root) == 5000


@VERSIONS
def test_time_is_a_number_of_cores_rounded_up(tmp_path, second):
    groups, root = tmp_path / "cgroup", tmp_path / "fs"
    groups.write_text("0::/task\n" if second else "3:cpu,cpuacct:/task\n")

    def limit(folder, quota, period):
        if second:
            write(folder, cpu__max=f"{'max' if quota < 0 else quota} {period}")
        else:
            write(folder, cpu__cfs_quota_us=quota, cpu__cfs_period_us=period)

    top = root if second else root / "cpu"
    assert core_limit(groups, root) is None
    limit(top, -1, 100000)
    assert core_limit(groups, root) is None
    limit(top / "task", 150000, 100000)
    assert core_limit(groups, root) == 2
    limit(top, 50000, 100000)
    assert core_limit(groups, root) == 1


def test_without_control_groups_nothing_is_limited(tmp_path):
    assert memory_limit(tmp_path / "none", tmp_path) is None
    assert core_limit(tmp_path / "none", tmp_path) is None
    assert 0 < memory_bytes() <= UNBOUNDED


def test_threads_are_no_more_than_granted(monkeypatch):
    monkeypatch.setattr(sys.modules[Options.__module__], "granted_cores", lambda: 1)
    assert Options().thread_count == 1
    assert Options(threads=3).thread_count == 3
    assert granted_cores() is None or granted_cores() > 0
