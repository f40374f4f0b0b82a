"""Object files linked into this process by LLVM, where the system has no linker.

Takes: an object file.  Gives: the address of its function.  Invariant: what an object file needs is
looked for before it is linked, since LLVM ends the process where something is missing.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

from llvmlite import binding


def address(content: bytes, entry: str, needs: Iterable[str]) -> int | None:
    """Return where ``entry`` lies; None where this process lacks a function of ``needs``."""
    engine = _engine()
    if any(binding.address_of_symbol(name) is None for name in needs):
        return None
    engine.add_object_file(binding.ObjectFileRef.from_data(content))
    engine.finalize_object()
    return engine.get_function_address(entry) or None


@functools.cache
def _engine() -> Any:
    """Return what links object code into this process; it lives as long as the process."""
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    machine = binding.Target.from_default_triple().create_target_machine()
    # this also lets LLVM look functions up in the process
    return binding.create_mcjit_compiler(binding.parse_assembly(""), machine)
