"""A compiled kernel as an object file with C's calling convention.

Takes: a Numba dispatcher and the types of its arguments.  Gives: the bytes of an object file
that needs the C library alone.  Invariant: a kernel that allocates memory is refused, since
Numba's allocator would not be there.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from typing import Any

from sparsedsl.errors import PlanError

# What Numba's wrapper refers to for exceptions, which generated kernels do not raise.
_HARMLESS = re.compile(r"(numba_gil_\w+|Py\w+|_Py\w+|NRT_MemInfo_call_dtor|NRT_incref|NRT_decref)$")


def object_code(dispatcher: Any, arguments: Sequence[tuple[str, int]], name: str) -> bytes:
    """Return the object file of a function ``void name(...)``.

    Parameters
    ----------
    arguments:
        For each argument its dtype and number of axes, -1 for an int64 scalar.  An array is
        passed as a pointer and the length of each axis, as int64.

    Raises
    ------
    PlanError
        For a kernel that allocates workspaces.
    """
    from llvmlite import binding

    numba: Any = importlib.import_module("numba")
    types = numba.types

    kinds: list[Any] = []
    named: list[str] = []
    passed: list[str] = []
    for n, (dtype, axes) in enumerate(arguments):
        if axes < 0:
            kinds.append(types.int64)
            named.append(f"a{n}")
            passed.append(f"a{n}")
            continue
        kinds += [types.CPointer(getattr(types, dtype)), *[types.int64] * axes]
        lengths = [f"a{n}_{k}" for k in range(axes)]
        named += [f"a{n}", *lengths]
        passed.append(f"carray(a{n}, ({', '.join(lengths)},))")
    text = f"def wrapper({', '.join(named)}):\n    kernel({', '.join(passed)})\n"
    space: dict[str, Any] = {"carray": numba.carray, "kernel": dispatcher}
    exec(compile(text, "<aot>", "exec"), space)
    compiled: Any = numba.cfunc(types.void(*kinds))(space["wrapper"])
    module = binding.parse_assembly(_without_python(compiled._library.get_llvm_str()))
    _define_harmless(module, binding)
    module.get_function(compiled._wrapper_name).name = name
    target = binding.Target.from_triple(module.triple)
    machine = target.create_target_machine(reloc="pic", codemodel="default", opt=3)
    return machine.emit_object(module)


def _without_python(text: str) -> str:
    """Make the exceptions that a wrapper names, and never raises, names of the module itself.

    A program in C has no CPython to link with.
    """
    named = r"^@(PyExc_\w+) = external (?:local_unnamed_addr )?global (\S+)$"
    return re.sub(named, r"@\1 = internal global \2 zeroinitializer", text, flags=re.MULTILINE)


def _define_harmless(module: Any, binding: Any) -> None:
    """Give bodies to what is declared and never reached; refuse what is reached."""
    declared = [f for f in module.functions if f.is_declaration and not f.name.startswith("llvm.")]
    for function in declared:
        if function.name.startswith("NRT_") and not _HARMLESS.match(function.name):
            raise PlanError(
                "the kernel allocates workspaces, which an object file for C cannot",
                hint="write the Python module alone, or choose layouts with a dense result",
            )
    stubs: list[str] = []
    for line in str(module).splitlines():
        found = re.match(r"declare (?:\w+ )*?(void|ptr|i\d+|\S+\*) @(\w+)\((.*?)\)", line)
        if found is None or not _HARMLESS.match(found[2]):
            continue
        kind, called, parameters = found.groups()
        value = {"void": "ret void"}.get(kind, f"ret {kind} {'0' if kind[0] == 'i' else 'null'}")
        parameters = re.sub(r"\b(nocapture|noundef|readonly|nonnull|writeonly)\b ?", "", parameters)
        stubs.append(f"define linkonce_odr {kind} @{called}({parameters}) {{ {value} }}")
    if stubs:
        module.link_in(binding.parse_assembly("\n".join(stubs)))
