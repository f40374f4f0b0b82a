"""Shared objects of kernels, beside the same code linked by LLVM, and what says which processor."""

import os

import numpy as np
import pytest

from sparsedsl.codegen import machine, processor, shared_objects
from sparsedsl.codegen.llvm_object import direct_code
from sparsedsl.loops.build import i, ivar, store
from sparsedsl.loops.nodes import ArrayParam, Const, For, IntParam, Kernel


@pytest.fixture(autouse=True)
def linker_looked_for():
    shared_objects.linker.cache_clear()
    yield
    shared_objects.linker.cache_clear()


def filling(value):
    """A kernel that stores a value in an array."""
    p = ivar("p")
    body = (For(p, i(0), ivar("n"), (store("x", [p], Const(value, "float64")),)),)
    return Kernel("filling", (ArrayParam("x", "float64", 1), IntParam("n")), body, ())


def code(value, name):
    x = np.zeros(2)
    return direct_code(filling(value), machine.kinds([x, 2]), name, fastmath=False)


def filled(made):
    x = np.zeros(3)
    function = machine.linked(made)
    assert function is not None
    function(x, 2)
    return x.tolist()


def program(folder, text):
    """Let ``ld`` be a program of ours."""
    place = folder / "ld"
    place.write_text(f"#!/bin/sh\n{text}\n")
    place.chmod(0o755)
    return str(folder)


def test_kernels_are_told_apart_though_their_files_have_one_number():
    made = [code(float(k), f"filling_{k}") for k in range(9)]
    assert [filled(one) for one in made] == [[k, k, 0] for k in range(9)]


@pytest.mark.parametrize("text", ["exit 1", "exit 0", "sleep 5"])
def test_where_the_linker_fails_llvm_links(text, tmp_path, monkeypatch):
    monkeypatch.setattr(shared_objects, "LINKER_SECONDS", 0.2)
    monkeypatch.setenv("PATH", program(tmp_path, text) + os.pathsep + os.environ["PATH"])
    made = code(2.0, f"failed_{text[-1]}")
    assert not made.shared
    assert filled(made) == [2, 2, 0]


def test_without_a_linker_llvm_links(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    made = code(3.0, "none_there")
    assert not made.shared
    assert filled(made) == [3, 3, 0]


def test_where_the_system_loads_no_bytes_llvm_links(monkeypatch):
    def refused(*_):
        raise PermissionError

    monkeypatch.setattr(os, "memfd_create", refused, raising=False)
    made = code(6.0, "not_loaded")
    assert not made.shared
    assert filled(made) == [6, 6, 0]


def test_what_the_system_refuses_is_told():
    made = code(4.0, "refused")
    for content in (b"", b"\x7fELF", made.content[:100]):
        assert machine.linked(machine.Code("refused", (), content, shared=True)) is None
    assert machine.linked(machine.Code("other_name", (), made.content, made.shared)) is None


def test_linux_links_by_itself_where_it_can():
    made = code(5.0, "linked")
    assert made.shared == (shared_objects.linker() is not None)


X86 = """processor	: 0
vendor_id	: GenuineIntel
cpu family	: 6
model		: 106
model name	: Xeon
cpu MHz		: {clock}
flags		: fpu sse2 {more}

processor	: 1
flags		: other
"""

ARM = """processor	: 0
BogoMIPS	: 50.00
Features	: fp asimd {more}
CPU implementer	: 0x41
CPU part	: 0xd0c
"""


@pytest.mark.parametrize("text", [X86, ARM])
def test_processors_are_told_apart_by_what_they_can_do(text, tmp_path, monkeypatch):
    def told(**parts):
        (tmp_path / "cpuinfo").write_text(text.format(**{"clock": 1, "more": "", **parts}))
        processor.host_cpu.cache_clear()
        return processor.host_cpu()

    monkeypatch.setattr(processor, "_CPUINFO", tmp_path / "cpuinfo")
    try:
        assert told() == told(clock=2)
        assert told() != told(more="avx2")
    finally:
        processor.host_cpu.cache_clear()


def test_where_linux_tells_nothing_llvm_does(tmp_path, monkeypatch):
    monkeypatch.setattr(processor, "_CPUINFO", tmp_path / "none")
    processor.host_cpu.cache_clear()
    try:
        assert processor.host_cpu() == processor._llvm_cpu()
    finally:
        processor.host_cpu.cache_clear()


@pytest.mark.parametrize(
    ("flags", "masks"), [("", False), ("avx2", False), ("avx512f avx512vl", True)]
)
def test_masks_are_what_the_processor_says(flags, masks, tmp_path, monkeypatch):
    (tmp_path / "cpuinfo").write_text(X86.format(clock=1, more=flags))
    monkeypatch.setattr(processor, "_CPUINFO", tmp_path / "cpuinfo")
    processor.has_masks.cache_clear()
    try:
        assert processor.has_masks() == masks
    finally:
        processor.has_masks.cache_clear()
