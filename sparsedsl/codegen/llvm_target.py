"""Optimised modules of LLVM to object code for this machine.

Takes: a module.  Gives: ``Code``: a shared object where the system can link one, else an object
file that LLVM links.  Invariant: both compute the same; they differ in how code names addresses.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from llvmlite import binding

from sparsedsl.codegen import shared_objects
from sparsedsl.codegen.machine import Code
from sparsedsl.codegen.processor import gathers, has_masks

KNOWS_GATHERS = (17, 0, 0)
"""From this version on LLVM can be told to use no gathers; earlier ones say that they cannot."""


def machine(*, shared: bool) -> Any:
    """Return LLVM's target machine: this processor, without its gathers where they are slow.

    Code for a ``shared`` object lies anywhere; other code is linked into this process by LLVM.
    """
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    target = binding.Target.from_default_triple()
    cpu = binding.get_host_cpu_name()
    features = binding.get_host_cpu_features().flatten()
    if has_masks() and not gathers() and binding.llvm_version_info >= KNOWS_GATHERS:
        features += ",+prefer-no-gather,+prefer-no-scatter"
    if shared:
        return target.create_target_machine(
            cpu=cpu, features=features, opt=3, reloc="pic", codemodel="default"
        )
    return target.create_target_machine(
        cpu=cpu,
        features=features,
        opt=3,
        reloc="static" if target.name.startswith("x86") else "default",
        codemodel="jitdefault",
        jit=True,
    )


def code(module: Any, name: str, needs: Iterable[str]) -> Code:
    """Return the code of a module that defines ``name`` and calls the functions ``needs``."""
    if shared_objects.linker() is not None:
        content = shared_objects.made(machine(shared=True).emit_object(module), name)
        if content is not None:
            return Code(name, tuple(needs), content, shared=True)
    return Code(name, tuple(needs), machine(shared=False).emit_object(module))
