"""Shared objects of kernels, beside the same code linked by LLVM, and what says which processor."""

import os

import numpy as np
import pytest

from sparsedsl.codegen import llvm_target, llvm_vectors, machine, processor, shared_objects
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
vendor_id	: {vendor}
cpu family	: 6
model		: 106
model name	: Xeon
cpu MHz		: {clock}
flags		: fpu sse2 {more}

processor	: 1
flags		: other
"""

TOLD = {"vendor": "GenuineIntel", "clock": 1, "more": ""}

ARM = """processor	: 0
BogoMIPS	: 50.00
Features	: fp asimd {more}
CPU implementer	: 0x41
CPU part	: 0xd0c
"""


@pytest.mark.parametrize("text", [X86, ARM])
def test_processors_are_told_apart_by_what_they_can_do(text, tmp_path, monkeypatch):
    def told(**parts):
        (tmp_path / "cpuinfo").write_text(text.format(**{**TOLD, **parts}))
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


def gathering():
    """A module of LLVM's whose function adds up what eight places of an array hold."""
    from llvmlite import binding, ir

    word, real, yes = ir.IntType(64), ir.DoubleType(), ir.IntType(1)
    kinds = [real.as_pointer(), ir.VectorType(word, 8), ir.VectorType(yes, 8)]
    module = ir.Module("gathering")
    function = ir.Function(module, ir.FunctionType(real, kinds), "gathering")
    builder = ir.IRBuilder(function.append_basic_block())
    found = llvm_vectors.loaded_through(builder, *function.args)
    builder.ret(llvm_vectors.folded(builder, found, builder.fadd))
    return binding.parse_assembly(str(module))


@pytest.fixture
def told(tmp_path, monkeypatch):
    """What is found out about a processor, of which Linux says what a test wants."""

    def tell(question, **parts):
        (tmp_path / "cpuinfo").write_text(X86.format(**{**TOLD, **parts}))
        question.cache_clear()
        processor.has_masks.cache_clear()
        return question()

    monkeypatch.setattr(processor, "_CPUINFO", tmp_path / "cpuinfo")
    yield tell
    processor.has_masks.cache_clear()
    processor.gathers.cache_clear()


@pytest.mark.parametrize(
    ("flags", "masks"), [("", False), ("avx2", False), ("avx512f avx512vl", True)]
)
def test_masks_are_what_the_processor_says(flags, masks, told):
    assert told(processor.has_masks, more=flags) == masks


@pytest.mark.parametrize(
    ("vendor", "flags", "fast"),
    [
        ("GenuineIntel", "avx512f avx512vl", True),
        ("GenuineIntel", "avx2", False),
        ("AuthenticAMD", "avx512f avx512vl", False),
    ],
)
def test_gathers_are_used_on_processors_where_they_are_fast(vendor, flags, fast, told):
    assert told(processor.gathers, more=flags, vendor=vendor) == fast


@pytest.mark.parametrize("fast", [True, False])
def test_code_has_gathers_where_they_are_fast(fast, monkeypatch, capfd):
    from llvmlite import binding

    if not binding.get_host_cpu_features().get("avx512vl"):
        pytest.skip("this processor has no masks")
    monkeypatch.setattr(llvm_target, "gathers", lambda: fast)
    monkeypatch.setattr(llvm_target, "has_masks", lambda: True)
    text = llvm_target.machine(shared=False).emit_assembly(gathering())
    assert ("vgather" in text) == (fast or binding.llvm_version_info < llvm_target.KNOWS_GATHERS)
    assert capfd.readouterr().err == ""  # where LLVM says that it does not know a feature
