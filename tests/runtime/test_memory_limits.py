"""The memory that a container grants, in both versions of Linux's control groups."""

import pytest

from sparsedsl.runtime.memory import UNBOUNDED, granted, memory_bytes


def write(file, text):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.mark.parametrize(
    ("line", "folder", "name"),
    [
        ("0::/pod/task\n", "", "memory.max"),
        ("9:cpu:/x\n4:hugetlb,memory:/pod/task\n", "memory", "memory.limit_in_bytes"),
    ],
    ids=["version 2", "version 1"],
)
def test_the_least_limit_on_the_way_up_holds(tmp_path, line, folder, name):
    groups, root = tmp_path / "cgroup", tmp_path / "fs"
    groups.write_text(line)
    top = root / folder
    assert granted(groups, root) == UNBOUNDED
    write(top / name, "9000\n")
    assert granted(groups, root) == 9000
    write(top / "pod" / "task" / name, "max\n")
    assert granted(groups, root) == 9000
    write(top / "pod" / name, "5000\n")
    assert granted(groups, root) == 5000


def test_without_control_groups_the_memory_is_the_machines(tmp_path):
    assert granted(tmp_path / "none", tmp_path) == UNBOUNDED
    assert 0 < memory_bytes() <= UNBOUNDED
