"""Bit counts as single machine instructions: the only door to llvmlite.

Both take and give int64.  Outside compiled code they are plain Python functions, so that a
generated kernel's ``py_func`` runs under the interpreter too.

>>> cttz(8), ctpop(-1)
(3, 64)
"""

from __future__ import annotations

from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.extending import lower_builtin, type_callable


def cttz(word: int) -> int:
    """Return the number of trailing zero bits of a nonzero int64."""
    return (word & -word).bit_length() - 1


def ctpop(word: int) -> int:
    """Return the number of one bits of an int64."""
    return (int(word) % 2**64).bit_count()


def _typer(context: Any) -> Any:  # noqa: ARG001
    def typer(word: Any) -> Any:
        # other ints are converted to int64 by the signature
        return types.int64(types.int64) if isinstance(word, types.Integer) else None

    return typer


for _function in (cttz, ctpop):
    type_callable(_function)(_typer)


@lower_builtin(cttz, types.int64)
def _generate_cttz(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
    # the second operand lets LLVM leave the result of zero undefined: one instruction
    return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))


@lower_builtin(ctpop, types.int64)
def _generate_ctpop(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
    return builder.ctpop(arguments[0])


def host_cpu() -> str:
    """Return LLVM's name of this machine's processor, such as ``"znver4"``."""
    return str(binding.get_host_cpu_name())
