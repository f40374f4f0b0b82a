"""One of two scalars without a branch, for kernels that Numba compiles.

>>> chosen(True, 1.0, 2.0)
1.0
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import lower_builtin, type_callable

from sparsedsl.codegen.llvm_vectors import selected


def chosen(condition: bool, yes: Any, no: Any) -> Any:
    """Return one of two scalars of one type, without a branch in compiled code."""
    return yes if condition else no


@type_callable(chosen)
def _type_chosen(context: Any) -> Any:
    def typer(condition: Any, yes: Any, no: Any) -> Any:  # noqa: ARG001
        return context.unify_types(types.unliteral(yes), types.unliteral(no))

    return typer


@lower_builtin(chosen, types.Boolean, types.Any, types.Any)
def _generate_chosen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    condition, *sides = arguments
    kinds, given = signature.args[1:], signature.return_type
    values = [context.cast(builder, v, k, given) for v, k in zip(sides, kinds, strict=True)]
    return selected(builder, condition, *values)
