"""The typed loop IR: what a kernel does, one statement at a time.

Takes: nothing (a closed set of nodes).  Gives: the program that is verified, interpreted and
printed as Python.  Invariant: every expression has a type, ``"int"`` (int64, all index
arithmetic), ``"bool"``, a NumPy value dtype name or a vector of those (``loops.vectors``); arrays
are C-contiguous and flat in no way, subscripts are one per axis.  ``Load``/``Store`` carry
``proved``: True when a proof shows each subscript non-negative and inside the array, which lets
the code generator emit unsigned subscripts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

INT = "int"
BOOL = "bool"


@dataclass(frozen=True, slots=True)
class Const:
    """A literal of ``type`` (``"int"``, ``"bool"`` or a dtype name; inf and nan allowed)."""

    value: bool | int | float | complex
    type: str


@dataclass(frozen=True, slots=True)
class Var:
    """A scalar variable or parameter."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Load:
    """``array[subscripts]``; an integer index array loads as ``"int"``.

    ``natural``: the element is proved not to be negative.
    """

    array: str
    subscripts: tuple[Expr, ...]
    type: str
    proved: bool = True
    natural: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """A vector of ``type`` whose first ``count`` elements are of ``array``, the others zero.

    They lie from ``place`` on, so many places ``apart``; or, where ``through`` names an index
    array, at the places that it holds from ``place`` on.  ``count`` may be negative, for none, or
    more than there are elements, for all; what is not taken need not be there.  Arrays have one
    axis.
    """

    array: str
    place: Expr
    count: Expr
    type: str
    through: str = ""
    apart: int = 1


@dataclass(frozen=True, slots=True)
class Length:
    """Number of elements of ``array`` along ``axis``."""

    array: str
    axis: int = 0

    @property
    def type(self) -> str:
        """Always ``"int"``."""
        return INT


@dataclass(frozen=True, slots=True)
class Binary:
    """``left operator right``.

    Integer: ``+ - * // % min max & | ^ << >>`` (``//`` and ``%`` floor).  Comparisons
    ``< <= > >= == !=``, ``below`` (less, both ints taken modulo 2**64) and ``and or`` (short
    circuit) give ``"bool"``.
    """

    operator: str
    left: Expr
    right: Expr
    type: str


@dataclass(frozen=True, slots=True)
class Not:
    """Logical negation."""

    operand: Expr

    @property
    def type(self) -> str:
        """Always ``"bool"``."""
        return BOOL


@dataclass(frozen=True, slots=True)
class Select:
    """``yes if condition else no``; both sides are evaluated lazily.

    ``even``: both are evaluated, and which one is taken is not guessed, as a branch would be.
    """

    condition: Expr
    yes: Expr
    no: Expr
    type: str
    even: bool = False


@dataclass(frozen=True, slots=True)
class Cast:
    """Conversion of a scalar to ``type``."""

    operand: Expr
    type: str


@dataclass(frozen=True, slots=True)
class Apply:
    """An operator of ``contraction.operators`` (by name), or an intrinsic.

    Intrinsics (type ``"int"``): ``cttz`` (count trailing zeros of a nonzero int64),
    ``ctpop`` (population count).  Of a vector ``first`` keeps a number of elements, the others
    become a constant; ``total`` gives the sum (the halves are added until one element is left),
    ``largest`` and ``smallest`` the extreme one likewise; ``nans`` gives the bits, as an int, of
    those that are NaN, ``differing`` of those of a number of elements that are not a constant, and
    ``lower`` of those that are less than an int, or than the elements of another vector.  ``alike``
    takes two vectors of 8 indices that are not negative, each with a number of elements, and gives
    bit ``8 * i + k`` where element ``i`` of the first equals element ``k`` of the second.
    ``added`` takes a vector, as many indices, an index and a vector of terms: it gives the first
    one with the terms added where the index is that one.
    """

    function: str
    arguments: tuple[Expr, ...]
    type: str


Expr: TypeAlias = "Const | Var | Load | Part | Length | Binary | Not | Select | Cast | Apply"


@dataclass(frozen=True, slots=True)
class Assign:
    """``variable = value``; the first one declares it."""

    variable: Var
    value: Expr


@dataclass(frozen=True, slots=True)
class Store:
    """``array[subscripts] = value``, or ``array[...] = combine(array[...], value)``.

    ``combine`` is None or a monoid's name (``contraction.operators.MONOIDS``).  Where ``passing``
    is true, it goes past the caches.
    """

    array: str
    subscripts: tuple[Expr, ...]
    value: Expr
    combine: str | None = None
    proved: bool = True
    passing: Var | None = None


@dataclass(frozen=True, slots=True)
class For:
    """``for variable in range(start, stop, step): body``."""

    variable: Var
    start: Expr
    stop: Expr
    body: tuple[Stmt, ...]
    step: int = 1


@dataclass(frozen=True, slots=True)
class While:
    """``while condition: body``."""

    condition: Expr
    body: tuple[Stmt, ...]


@dataclass(frozen=True, slots=True)
class If:
    """``if condition: then else: otherwise``.

    ``odds``: how many times as often ``otherwise`` is expected as ``then``; 1 says nothing.
    ``even``: what ``then`` reads is there anyway; it is computed, and kept only where the condition
    holds, so that this is not guessed as a branch would be.  ``then`` has assignments to variables
    that have values, and stores of single elements, and there is nothing ``otherwise``.
    """

    condition: Expr
    then: tuple[Stmt, ...]
    otherwise: tuple[Stmt, ...] = ()
    odds: int = 1
    even: bool = False


@dataclass(frozen=True, slots=True)
class Break:
    """Leave the innermost loop."""


@dataclass(frozen=True, slots=True)
class Allocate:
    """``array = numpy.full(shape, value, dtype)``; uninitialised when ``value`` is None."""

    array: str
    dtype: str
    shape: tuple[Expr, ...]
    value: Const | None = None


@dataclass(frozen=True, slots=True)
class Resize:
    """A 1-D ``array`` reallocated to ``length`` elements, the common prefix kept."""

    array: str
    length: Expr


@dataclass(frozen=True, slots=True)
class Prefetch:
    """A hint that ``array[subscripts]`` is stored to soon, or loaded if not ``to_store``.

    It changes no value, and the subscripts may lie outside the array.  Where ``of_row``, the line
    of memory is one of several that are read one after another.
    """

    array: str
    subscripts: tuple[Expr, ...]
    to_store: bool = True
    of_row: bool = False


@dataclass(frozen=True, slots=True)
class Pack:
    """Elements stored one behind the other from ``array[place]`` on: those that ``kept`` says.

    Bit ``k`` of ``kept`` is set where element ``k`` is kept.  A vector ``value`` gives its own
    elements, an int the numbers from it on, as many as there are bits; or, where ``through`` names
    an index array, what that holds from there on, of as many ``lanes`` as there are.  Nothing else
    of ``array`` is touched, and nothing is read of elements that are not kept.
    """

    array: str
    place: Expr
    value: Expr
    kept: Expr
    through: str = ""
    lanes: int = 64


@dataclass(frozen=True, slots=True)
class Comment:
    """A line for the reader of the generated code."""

    text: str


Stmt: TypeAlias = (
    "Assign | Store | For | While | If | Break | Allocate | Resize | Prefetch | Pack | Comment"
)


@dataclass(frozen=True, slots=True)
class ArrayParam:
    """An array argument of ``dtype`` (a NumPy name) with ``ndim`` axes, C-contiguous."""

    name: str
    dtype: str
    ndim: int


@dataclass(frozen=True, slots=True)
class IntParam:
    """An ``"int"`` argument, such as an extent."""

    name: str


@dataclass(frozen=True, slots=True)
class ScalarParam:
    """A scalar argument of a value dtype."""

    name: str
    dtype: str


Param: TypeAlias = "ArrayParam | IntParam | ScalarParam"


@dataclass(frozen=True, slots=True)
class Kernel:
    """A function: parameters, body, and the arrays and scalars it returns, in order.

    ``notes`` are lines for the generated docstring: the statement, the plan, the proofs.
    """

    name: str
    params: tuple[Param, ...]
    body: tuple[Stmt, ...]
    results: tuple[str, ...]
    notes: tuple[str, ...] = ()
