"""Loop IR to the text of a Python module that Numba compiles and people read.

Takes: a kernel that ``loops.verify`` accepts.  Gives: the module's source, a pure function of
the kernel and the flags.  Invariant: all index arithmetic is int64; a subscript that a proof
shows to be in range is printed unsigned (``x[u64(j)]``), since Numba would otherwise wrap
negative ones, which costs a branch and blocks vector gathers.
"""

from __future__ import annotations

import builtins
import keyword
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import assert_never

import numpy as np

from sparsedsl.codegen import operators
from sparsedsl.codegen.expressions import CONSTRUCTORS, VECTOR_CALLS, Printer
from sparsedsl.contraction.operators import MONOIDS
from sparsedsl.loops.effects import array_dtypes, names
from sparsedsl.loops.nodes import (
    BOOL,
    INT,
    Allocate,
    Apply,
    ArrayParam,
    Assign,
    Binary,
    Break,
    Comment,
    Const,
    Expr,
    For,
    If,
    IntParam,
    Kernel,
    Length,
    Load,
    Pack,
    Prefetch,
    Resize,
    ScalarParam,
    Stmt,
    Store,
    Var,
    While,
)
from sparsedsl.loops.operations import INTRINSICS
from sparsedsl.loops.vectors import FOLDS, element, lanes
from sparsedsl.loops.walk import statements

_COMPARING = frozenset({"added", "alike"})
"""Functions of ``codegen.comparing``."""

_APART = frozenset({"part_apart"})
"""Functions of ``codegen.apart``."""

_RESERVED = frozenset(
    {
        *("np", "math", "njit", "register_jitable"),
        *operators.HELPERS,
        *CONSTRUCTORS.values(),
        *INTRINSICS,
        *("chosen", "vector", "spread", "store_vector", "part", "part_through", "first"),
        *(*FOLDS, *VECTOR_CALLS.values()),
        *("prefetch", "prefetch_to_store", "differing", "lower", "nans", *_COMPARING, *_APART),
        *("pack", "pack_numbers", "pack_through"),
        *operators.STRAIGHT,
        *keyword.kwlist,
        *dir(builtins),
    }
)
"""Names that mean something else in a generated module."""


def source(kernel: Kernel, *, fastmath: bool = True, safe: bool = False, cache: bool = True) -> str:
    """Return a Python module that defines ``kernel`` as a Numba function of its name.

    Parameters
    ----------
    kernel:
        The function to print; its notes become the docstring.
    fastmath:
        Let floating-point sums reassociate and contract, where the kernel accumulates any.
        NaN, infinities and the sign of zero keep their meaning.
    safe:
        Check every subscript at run time: an access outside an array, or a negative one,
        raises IndexError.
    cache:
        Let Numba keep the machine code beside the file; the text must then be in a file.

    Returns
    -------
    str
        The module.  Its function takes the kernel's parameters in order and returns a tuple
        of the kernel's results, also when there is one or none.

    Examples
    --------
    >>> from sparsedsl.loops.build import ivar, i, store
    >>> from sparsedsl.loops.nodes import ArrayParam, For, IntParam, Kernel
    >>> params = (ArrayParam("y", "int64", 1), IntParam("n"))
    >>> body = (For(ivar("p"), i(0), ivar("n"), (store("y", [ivar("p")], 7),)),)
    >>> print(source(Kernel("fill", params, body, ("y",)), cache=False))
    from numba import njit
    from numpy import uint64 as u64
    <BLANKLINE>
    <BLANKLINE>
    @njit(nogil=True, error_model="numpy")
    def fill(y, n):
        for p in range(n):
            y[u64(p)] = 7
        return (y,)
    <BLANKLINE>
    """
    used = names(kernel)
    printer = Printer(array_dtypes(kernel), _renamed(kernel, used), used, unsigned=safe)
    body = [*_entry(kernel, printer), *_body(kernel.body, printer)]
    results = [printer.name(name) for name in kernel.results]
    body.append(f"return ({', '.join(results)}{',' if len(results) == 1 else ''})")
    params = ", ".join(printer.name(param.name) for param in kernel.params)
    flags = ["cache=True"] if cache else []
    flags += ["nogil=True", 'error_model="numpy"']
    if safe:
        flags.append("boundscheck=True")
    if fastmath and (free := freedoms(kernel)):
        shown = ", ".join(f'"{name}"' for name in free)
        flags.append(f"fastmath={{{shown}}}")
    lines = [
        f"@njit({', '.join(flags)})",
        f"def {kernel.name}{'_' if kernel.name in _RESERVED else ''}({params}):",
        *_indented([*_docstring(kernel.notes), *body]),
    ]
    helpers = [part for helper in _unique(printer.helpers.values()) for part in (helper, "\n")]
    return (
        _imports(printer, "\n".join(lines)) + "\n\n" + "\n".join(helpers) + "\n".join(lines) + "\n"
    )


def _renamed(kernel: Kernel, used: set[str]) -> dict[str, str]:
    """Return new names for those that mean something else in the generated module."""
    renamed: dict[str, str] = {}
    for name in sorted(used & (_RESERVED | {kernel.name})):
        fresh = name + "_"
        while fresh in used or fresh in _RESERVED:
            fresh += "_"
        renamed[name] = fresh
        used.add(fresh)
    return renamed


def freedoms(kernel: Kernel) -> tuple[str, ...]:
    """Return LLVM's names of what floating-point operations of a kernel may do, with ``fastmath``.

    A kernel that accumulates no floating-point sum has none.
    """
    if not _sums_floats(kernel.body, array_dtypes(kernel)):
        return ()
    return ("contract", "reassoc") if _sums_always(kernel) else ("contract",)


def _sums_floats(body: tuple[Stmt, ...], dtypes: Mapping[str, str]) -> bool:
    """Whether some statement accumulates a floating-point sum."""
    return any(_is_float_sum(statement, dtypes) for statement in statements(body))


def _sums_always(kernel: Kernel) -> bool:
    """Whether some loop accumulates a floating-point sum in each turn.

    Sums may then be taken in another order, in vectors.  Where each addition depends on a
    condition, vectors would make all of them, with masks, which takes longer.
    """
    dtypes = array_dtypes(kernel)
    loops = (s for s in statements(kernel.body) if isinstance(s, For | While))
    return any(_is_float_sum(part, dtypes) for loop in loops for part in loop.body)


def _is_float_sum(statement: Stmt, dtypes: Mapping[str, str]) -> bool:
    match statement:
        case Store(array, _, _, "add"):
            return np.dtype(dtypes[array]).kind in "fc"
        case Store(array, there, Apply("add", (Load(read, here), _), type)) if type != INT:
            number = np.dtype(element(type)).kind in "fc"
            return array == read and there == here and number
        case Assign(Var(name, type), Apply("add", (Var(first), _))):
            number = type not in (INT, BOOL) and np.dtype(element(type)).kind in "fc"
            return name == first and number
        case _:
            return False


def _docstring(notes: Iterable[str]) -> list[str]:
    lines = [line.rstrip() for note in notes for line in note.splitlines() or [""]]
    lines = [line.replace("\\", "\\\\").replace('"""', "'''") for line in lines]
    if not lines:
        return []
    if lines[-1].endswith('"'):
        lines[-1] += " "
    if len(lines) == 1:
        return [f'"""{lines[0]}"""']
    return [f'"""{lines[0]}', *lines[1:], '"""']


def _imports(printer: Printer, text: str) -> str:
    """Return the module's import lines."""
    helpers = "".join(printer.helpers.values())
    lines = ["import math", ""] if "math." in helpers else []
    if "np." in text + helpers:
        lines.append("import numpy as np")
    lines.append("from numba import njit")
    if helpers:
        lines.append("from numba.extending import register_jitable")
    lines += [f"from numpy import {d} as {CONSTRUCTORS[d]}" for d in sorted(printer.constructors)]
    kinds = operators.STRAIGHT, _COMPARING, _APART
    straight, compared, apart = (printer.intrinsics & names for names in kinds)
    others = printer.intrinsics - straight - compared - apart
    if printer.intrinsics:
        lines.append("")
    parts = {"apart": apart, "comparing": compared, "intrinsics": others, "straight": straight}
    for module, found in parts.items():
        if found:
            lines.append(f"from sparsedsl.codegen.{module} import {', '.join(sorted(found))}")
    return "\n".join(lines) + "\n"


def _unique(parts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(parts))


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"    {line}" if line else "" for line in lines]


def _entry(kernel: Kernel, printer: Printer) -> Iterator[str]:
    """Yield conversions of scalar parameters that Python hands over in a wider dtype."""
    for param in kernel.params:
        match param:
            case ScalarParam(name, dtype) if dtype not in (BOOL, "int64", "float64", "complex128"):
                yield f"{printer.name(name)} = {printer.constructor(dtype)}({printer.name(name)})"
            case ArrayParam() | IntParam() | ScalarParam():
                pass
            case _:
                assert_never(param)


def _body(body: tuple[Stmt, ...], printer: Printer) -> list[str]:
    return [line for statement in body for line in _statement(statement, printer)]


def _block(head: str, body: tuple[Stmt, ...], printer: Printer) -> list[str]:
    lines = _body(body, printer)
    if all(isinstance(statement, Comment) for statement in body):
        lines.append("pass")
    return [head, *_indented(lines)]


def _statement(node: Stmt, printer: Printer) -> list[str]:
    match node:
        case Assign(variable, value):
            return [_assign(variable, value, printer)]
        case Store():
            told = node.passing and f"  # past the caches if {printer.name(node.passing.name)}"
            return [f"{_store(node, printer)}{told or ''}"]
        case For(variable, start, stop, body, step):
            ends = [] if start == Const(0, INT) and step == 1 else [printer.exact(start)]
            ends.append(printer.exact(stop))
            ends += [str(step)] if step != 1 else []
            head = f"for {printer.name(variable.name)} in range({', '.join(ends)}):"
            return _block(head, body, printer)
        case While(condition, body):
            return _block(f"while {printer.text(condition)}:", body, printer)
        case If():
            return _branches(node, printer)
        case Break():
            return ["break"]
        case Allocate():
            return _allocate(node, printer)
        case Resize(array, length):
            return _resize(array, length, printer)
        case Prefetch(array, subscripts, to_store):
            call = "prefetch_to_store" if to_store else "prefetch"
            place = printer.place(subscripts)
            return [printer.intrinsic(f"{call}({printer.name(array)}, {place})")]
        case Pack():
            return [printer.pack(node)]
        case Comment(text):
            return [f"# {line}".rstrip() for line in text.splitlines() or [""]]
        case _:
            assert_never(node)


def _assign(variable: Var, value: Expr, printer: Printer) -> str:
    """Return an assignment, as ``x += y`` where that says the same."""
    name = printer.name(variable.name)
    match value:
        case Binary(
            "+" | "-" | "*" | "&" | "|" | "^" | "<<" | ">>" as symbol, left, right, "int"
        ) if left == variable:
            return f"{name} {symbol}= {printer.text(right)}"
        case Apply("add" | "mul" as operator, (left, right), type) if left == variable and type in (
            "int64",
            "float32",
            "float64",
            "complex64",
            "complex128",
        ):
            converted = printer.converted(right, type)[0]
            return f"{name} {operators.AUGMENTED[operator]}= {converted}"
        case _:
            return f"{name} = {printer.exact(value)}"


def _store(node: Store, printer: Printer) -> str:
    if lanes(node.value.type) > 1:
        array, value = printer.name(node.array), printer.text(node.value)
        return printer.intrinsic(
            f"store_vector({array}, {printer.place(node.subscripts)}, {value})"
        )
    place = printer.element(node.array, node.subscripts, node.proved)
    dtype = printer.dtypes[node.array]
    if node.combine is None:
        same = Load(node.array, node.subscripts, INT, node.proved)
        match node.value:
            case Binary("+" | "-" | "*" | "&" | "|" | "^" as symbol, left, right, "int") if (
                left == same and dtype != "uint64"
            ):
                return f"{place} {symbol}= {printer.text(right)}"
            case _:
                pass
        mixed = node.value.type == INT and dtype == "uint64"
        value = printer.converted(node.value, dtype)[0] if mixed else printer.text(node.value)
        return f"{place} = {value}"
    operator = MONOIDS[node.combine].operator
    if dtype == BOOL:
        operator = operators.OF_BOOLS[operator]
    if operator in operators.AUGMENTED:
        return f"{place} {operators.AUGMENTED[operator]}= {printer.converted(node.value, dtype)[0]}"
    # the element as an operand of its own dtype, whatever the array's name in the IR
    old = Load(node.array, node.subscripts, dtype, node.proved)
    return f"{place} = {printer.operator(operator, (old, node.value), dtype)[0]}"


def _branches(node: If, printer: Printer) -> list[str]:
    lines = _block(f"if {printer.text(node.condition)}:", node.then, printer)
    match node.otherwise:
        case ():
            return lines
        case (If() as nested,):
            rest = _branches(nested, printer)
            return [*lines, "el" + rest[0], *rest[1:]]
        case otherwise:
            return [*lines, *_block("else:", otherwise, printer)]


def _allocate(node: Allocate, printer: Printer) -> list[str]:
    """Return an allocation; it is filled by a plain loop, which Numba compiles in a third of
    the time of ``numpy.zeros`` or ``numpy.full`` to the same machine code.
    """
    sizes = ", ".join(printer.text(extent) for extent in node.shape)
    sizes = sizes if len(node.shape) == 1 else f"({sizes})"
    lines = [f"{printer.name(node.array)} = np.empty({sizes}, {_numpy_dtype(node.dtype)})"]
    if node.value is not None:
        name = f"{printer.name(node.array)}_place"
        count = range(len(node.shape)) if len(node.shape) != 1 else ("",)
        places = [Var(printer.scratch(f"{name}{axis}"), INT) for axis in count]
        # storing an int converts it
        type = INT if node.value.type == INT or node.dtype[:3] == "int" else node.dtype
        fill: Stmt = Store(node.array, tuple(places), replace(node.value, type=type))
        for axis, place in reversed(list(enumerate(places))):
            fill = For(place, Const(0, INT), Length(node.array, axis), (fill,))
        lines += _statement(fill, printer)
    return lines


def _numpy_dtype(dtype: str) -> str:
    return "np.bool_" if dtype == BOOL else f"np.{dtype}"


def _resize(array: str, length: Expr, printer: Printer) -> list[str]:
    """Return the reallocation of a 1-D array, copying what is kept in a plain loop."""
    name = printer.name(array)
    fresh, place = printer.scratch(f"{name}_resized"), printer.scratch(f"{name}_place")
    u64 = printer.constructor("uint64")
    kind = _numpy_dtype(printer.dtypes[array])
    return [
        f"{fresh} = np.empty({printer.text(length)}, {kind})",
        f"for {place} in range(min(len({name}), len({fresh}))):",
        f"    {fresh}[{u64}({place})] = {name}[{u64}({place})]",
        f"{name} = {fresh}",
    ]
