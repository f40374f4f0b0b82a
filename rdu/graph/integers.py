"""Whether operators make whole numbers of whole numbers, as INT32 needs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from rdu.errors import RDUError
from rdu.graph.nodes import (
    AllReduce,
    Argument,
    Constant,
    Contract,
    Densify,
    Fibres,
    Function,
    Map,
    Operator,
    Rearrange,
    Reduction,
    RmsNorm,
    Softmax,
    SparseMap,
    SparseProduct,
    SparseUnion,
    Structure,
)

_HINT = "pass precision='bf16' or 'fp32', which compute with real numbers"


def require_integers(operators: Iterable[Operator], structures: Iterable[Structure]) -> None:
    """Refuse what has no exact result among 32-bit whole numbers.

    Raises
    ------
    RDUError
        On a function that gives real numbers, a power, a constant or a fill value that is no
        32-bit whole number, softmax and norms.
    """
    for operator in operators:
        match operator:
            case Softmax() | RmsNorm():
                raise RDUError(f"{operator.name}: {type(operator).__name__} is real", hint=_HINT)
            case (
                Map(function=function, arguments=arguments)
                | SparseMap(function=function, arguments=arguments)
            ):
                _require_function(operator.name, function, arguments)
            case SparseUnion(function=function, left=left, right=right):
                _require_function(operator.name, function, (left, right))
            case Contract() | Reduction() | Rearrange() | AllReduce() | SparseProduct() | Densify():
                pass
    for structure in structures:
        if isinstance(structure, Fibres) and not _whole(structure.fill):
            raise RDUError(f"the fill value {structure.fill} is no 32-bit integer", hint=_HINT)


def _require_function(name: str, function: Function, arguments: Sequence[Argument]) -> None:
    for argument in arguments:
        if isinstance(argument, Constant) and not _whole(argument.value):
            raise RDUError(f"{name}: {argument.value} is no 32-bit integer", hint=_HINT)
    ones = [np.ones(1, dtype=np.int32)] * len(arguments)
    # Integers have no negative powers, whatever the type says.
    if function.name == "pow" or np.asarray(function.apply(*ones)).dtype.kind not in "biu":
        raise RDUError(f"{name}: {function.name!r} of integers is real", hint=_HINT)


def _whole(value: float) -> bool:
    return float(value).is_integer() and -(2**31) <= value < 2**31
