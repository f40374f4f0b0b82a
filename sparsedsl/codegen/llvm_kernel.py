"""A kernel of the loop IR as a function of LLVM's.

Takes: a kernel that ``loops.verify`` accepts, whose subscripts are all in range.  Gives: an LLVM
function ``i32 kernel(arrays and ints, results)``: of an array its address and the length of each
axis, then where the results go; it returns 1 where memory ran out, else 0.  A result that is an
int takes a word; one that is a workspace its address, the memory that whoever called is to free,
and the length of each axis.  Invariant: it computes
what the Python printed for the kernel computes; what is not known here raises ``NeedsNumbaError``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, assert_never

import numpy as np
from llvmlite import ir

from sparsedsl.codegen import llvm_loops, llvm_packs, operators
from sparsedsl.codegen.llvm_expressions import (
    converted_to,
    evaluate,
    operation,
    places,
    vector_place,
)
from sparsedsl.codegen.llvm_function import STATUS, Array, Function
from sparsedsl.codegen.llvm_loops import PARTS, Hints
from sparsedsl.codegen.llvm_scalars import (
    WORD,
    NeedsNumbaError,
    Value,
    constant,
    kind_of,
    stored_type,
)
from sparsedsl.codegen.llvm_vectors import extreme, selected
from sparsedsl.contraction.operators import MONOIDS
from sparsedsl.loops.nodes import (
    BOOL,
    INT,
    Allocate,
    Apply,
    ArrayParam,
    Assign,
    Break,
    Comment,
    Expr,
    For,
    If,
    IntParam,
    Kernel,
    Pack,
    Prefetch,
    Resize,
    ScalarParam,
    Stmt,
    Store,
    Var,
    While,
)
from sparsedsl.loops.rows import renamed
from sparsedsl.loops.vectors import lanes
from sparsedsl.loops.walk import statements


def kernel_function(module: Any, kernel: Kernel, fast: tuple[str, ...]) -> Any:
    """Add the function of ``kernel`` to ``module`` and return it.

    ``fast`` are LLVM's names of what sums of floats may do.

    Raises
    ------
    NeedsNumbaError
        For what is compiled from the printed Python alone.
    """
    kinds: list[Any] = []
    for param in kernel.params:
        match param:
            case ArrayParam(_, dtype, ndim):
                kinds += [stored_type(dtype).as_pointer(), *[WORD] * ndim]
            case IntParam():
                kinds.append(WORD)
            case ScalarParam():
                raise NeedsNumbaError("a scalar argument")
            case _:
                assert_never(param)
    kind = ir.FunctionType(STATUS, [*kinds, WORD.as_pointer()])
    function = ir.Function(module, kind, f"{kernel.name}.loops")
    function.linkage = "internal"
    function.attributes.add("noinline")
    function.attributes.add("nounwind")
    _write(Function(function, fast), kernel)
    return function


def _write(f: Function, kernel: Kernel) -> None:
    """Write the parameters, the body and what is returned."""
    given = iter(f.function.args)
    for param in kernel.params:
        if isinstance(param, ArrayParam):
            address, lengths = next(given), [next(given) for _ in range(param.ndim)]
            f.arrays[param.name] = Array(
                param.dtype, lambda a=address: a, lambda k, n=tuple(lengths): n[k]
            )
        elif isinstance(param, IntParam):
            f.builder.store(next(given), f.variable(param.name, INT))
    _versions(f, kernel)
    f.builder.position_at_end(f.failed)
    f.leave(1)
    ir.IRBuilder(f.entry).branch(f.function.basic_blocks[1])


def _versions(f: Function, kernel: Kernel) -> None:
    """Write the body: from where it is told what goes past the caches, for that and for nothing.

    In one body LLVM would make one store of both.
    """
    told = {s.passing for s in statements(kernel.body) if isinstance(s, Store)} - {None}
    place = next((k for k, s in enumerate(kernel.body) if _defines(s, told)), None)
    if place is None:
        _run(f, kernel.body)
        _return(f, kernel)
        return
    _run(f, kernel.body[: place + 1])
    past, near = f.block("past"), f.block("near")
    (passes,) = (evaluate(f, passing) for passing in told if passing is not None)
    f.builder.cbranch(passes, past, near)
    for block in (past, near):
        f.passing = block is past
        f.builder.position_at_end(block)
        _run(f, kernel.body[place + 1 :])
        if f.passing:
            # such stores are not in order with others, by which another thread learns of them
            f.builder.fence("seq_cst")
        _return(f, kernel)


def _defines(statement: Stmt, told: set[Var | None]) -> bool:
    return isinstance(statement, Assign) and statement.variable in told


def _return(f: Function, kernel: Kernel) -> None:
    """Write the results and leave."""
    results = f.function.args[-1]
    words = [word for name in kernel.results for word in _words(f, name)]
    for k, word in enumerate(words):
        f.builder.store(word, f.builder.gep(results, [WORD(k)]))
    f.leave(0, {*kernel.results})


def _words(f: Function, name: str) -> list[Value]:
    """Return the words that a result is returned as."""
    place, type = f.variables.get(name, (None, ""))
    if type == INT:
        return [f.builder.load(place)]
    array = f.arrays.get(name)
    if array is None or array.memory is None:
        raise NeedsNumbaError("a result that is neither an int nor a workspace")
    lengths = [f.builder.load(length) for length in array.lengths]
    memory = f.builder.load(array.memory)
    return [*(f.builder.ptrtoint(x, WORD) for x in (array.address(), memory)), *lengths]


def _run(f: Function, body: tuple[Stmt, ...]) -> None:
    """Write statements."""
    for statement in body:
        _step(f, statement)


def _step(f: Function, node: Stmt) -> None:
    """Write one statement."""
    match node:
        case Assign(variable, Apply("maximum" | "minimum" as name, (first, value), type)) if (
            first == variable and type in ("float64", "float32")
        ):
            found = _extreme_so_far(f, name, first, value)
            f.builder.store(found, f.variable(variable.name, variable.type))
        case Assign(variable, value):
            found = evaluate(f, value)
            f.builder.store(found, f.variable(variable.name, variable.type))
        case Store():
            _store(f, node)
        case For():
            _loop(f, node)
        case While(condition, body):
            head, inside, after = f.block("while"), f.block("turn"), f.block("after")
            f.go(head)
            f.builder.position_at_end(head)
            f.builder.cbranch(evaluate(f, condition), inside, after)
            _turn(f, inside, after, body)
            f.go(head)
            f.builder.position_at_end(after)
        case If():
            _branches(f, node)
        case Break():
            f.go(f.exits[-1])
            f.builder.position_at_end(f.block("unreached"))
        case Allocate():
            _allocate(f, node)
        case Resize(array, length):
            f.resize(array, evaluate(f, length))
        case Prefetch(array, subscripts, to_store, of_row):
            place = f.place(array, [evaluate(f, s) for s in subscripts])
            f.prefetch(place, to_store=to_store, of_row=of_row)
        case Pack():
            _pack(f, node)
        case Comment():
            pass
        case _:
            assert_never(node)


SELDOM, USUALLY = 1, 2000
"""Weights of a branch for NaN: it stays a branch, so that nothing waits for the test."""


def _extreme_so_far(f: Function, name: str, first: Expr, value: Expr) -> Value:
    """Write the larger or smaller of what was found so far and one value more.

    Only one instruction waits for what was found, unless the value is NaN.
    """
    builder, symbol = f.builder, ">" if name == "maximum" else "<"
    old, new = evaluate(f, first), evaluate(f, value)
    seldom, usual, after = f.block("nan"), f.block("number"), f.block("after")
    branch = builder.cbranch(builder.fcmp_unordered("uno", new, new), seldom, usual)
    branch.set_weights([SELDOM, USUALLY])
    builder.position_at_end(seldom)
    among = extreme(builder, symbol, old, new)
    builder.branch(after)
    builder.position_at_end(usual)
    better = builder.select(builder.fcmp_ordered(symbol, new, old), new, old)
    builder.branch(after)
    builder.position_at_end(after)
    found = builder.phi(old.type)
    found.add_incoming(among, seldom)
    found.add_incoming(better, usual)
    return found


def _pack(f: Function, node: Pack) -> None:
    """Write what stores the kept elements of a vector, or of numbers, one behind the other."""
    into = f.place(node.array, [evaluate(f, node.place)])
    value, kept = evaluate(f, node.value), evaluate(f, node.kept)
    if node.value.type != INT:
        llvm_packs.pack(f.builder, into, value, kept)
    elif node.through:
        held = f.place(node.through, [value])
        llvm_packs.pack_through(f.builder, into, held, kept, node.lanes)
    else:
        llvm_packs.pack_numbers(f.builder, into, value, kept, node.lanes)


def _turn(f: Function, inside: Any, after: Any, body: tuple[Stmt, ...]) -> None:
    """Write the body of a loop; a ``Break`` in it goes to ``after``."""
    f.exits.append(after)
    f.builder.position_at_end(inside)
    _run(f, body)
    f.exits.pop()


def _loop(f: Function, node: For) -> None:
    """Write ``for variable in range(start, stop, step)``: ends are evaluated once."""
    if node.step < 1:
        raise NeedsNumbaError("a loop downwards")
    start, stop = evaluate(f, node.start), evaluate(f, node.stop)
    free = f.fast
    sums = [v for v in llvm_loops.sums_in_parts(node) if free or kind_of(v.type) != "f"]
    if llvm_loops.in_order(node):
        f.fast = tuple(name for name in free if name != "reassoc")
    if sums:
        _few_or_many(f, node, start, stop, sums)
    else:
        _turns(f, node, start, stop, llvm_loops.hints(node))
    f.fast = free


def _few_or_many(f: Function, node: For, start: Value, stop: Value, sums: Sequence[Var]) -> None:
    """Write a loop that takes sums one by one where it turns little, else in parts."""
    builder = f.builder
    few, many, after = f.block("few"), f.block("many"), f.block("after")
    turns = builder.sub(stop, start)
    builder.cbranch(builder.icmp_signed("<", turns, WORD(llvm_loops.MANY)), few, many)
    builder.position_at_end(few)
    _turns(f, node, start, stop, Hints.ONE_BY_ONE)
    builder.branch(after)
    builder.position_at_end(many)
    _turns_in_parts(f, node, start, stop, sums)
    builder.branch(after)
    builder.position_at_end(after)


def _turns_in_parts(f: Function, node: For, start: Value, stop: Value, sums: Sequence[Var]) -> None:
    """Write a loop of several turns at a time, each with sums of its own, and those left over."""
    builder = f.builder
    parts = [[replace(v, name=f"{v.name}.{part}") for v in sums] for part in range(PARTS)]
    for total in (v for part in parts[1:] for v in part):
        builder.store(constant(0, total.type), f.variable(total.name, total.type))
    counter, variable = f.reserve(WORD), f.variable(node.variable.name, INT)
    builder.store(start, counter)
    left = builder.and_(builder.sub(stop, start), WORD(PARTS - 1))
    whole = builder.sub(stop, left)
    inside, rest = f.block("parts"), f.block("rest")
    builder.branch(inside)
    builder.position_at_end(inside)
    count = builder.load(counter)
    for place, part in enumerate(parts):
        builder.store(builder.add(count, WORD(place), flags=("nsw",)), variable)
        own = {v.name: p.name for v, p in zip(sums, part, strict=True)} if place else {}
        _run(f, renamed(node.body, own))
    count = builder.add(count, WORD(PARTS), flags=("nsw",))
    builder.store(count, counter)
    more = builder.cbranch(builder.icmp_signed("<", count, whole), inside, rest)
    llvm_loops.mark(more, Hints.ONE_BY_ONE)
    builder.position_at_end(rest)
    for total, *others in zip(sums, *parts[1:], strict=True):
        _step(f, Assign(total, _total([total, *others])))
    _turns(f, node, whole, stop, Hints.ONE_BY_ONE)


def _total(parts: Sequence[Var]) -> Expr:
    """Return the sum of parts: that of each half, added."""
    if len(parts) == 1:
        return parts[0]
    halves = parts[: len(parts) // 2], parts[len(parts) // 2 :]
    return Apply("add", tuple(map(_total, halves)), parts[0].type)


def _turns(f: Function, node: For, start: Value, stop: Value, hints: Hints) -> None:
    """Write a loop upwards from ``start`` to below ``stop``."""
    builder = f.builder
    counter, variable = f.reserve(WORD), f.variable(node.variable.name, INT)
    builder.store(start, counter)
    head, inside, after = f.block("for"), f.block("turn"), f.block("after")
    builder.branch(head)
    builder.position_at_end(head)
    count = builder.load(counter)
    builder.cbranch(builder.icmp_signed("<", count, stop), inside, after)
    builder.position_at_end(inside)
    builder.store(count, variable)
    _turn(f, inside, after, node.body)
    if not builder.block.is_terminated:
        # below ``stop``, so that one more does not leave 64 bits
        sure = ("nsw",) if node.step == 1 else ()
        builder.store(builder.add(count, WORD(node.step), flags=sure), counter)
        llvm_loops.mark(builder.branch(head), hints)
    builder.position_at_end(after)


def _kept(f: Function, node: If) -> None:
    """Write statements whose effects are kept only where a condition holds, without a branch.

    What is not to be stored goes to memory that nothing reads.  Sums are in the order of turns.
    """
    free = f.fast
    f.fast = tuple(name for name in free if name != "reassoc")
    condition = evaluate(f, node.condition)
    for statement in node.then:
        match statement:
            case Assign(variable):
                place = f.variable(variable.name, variable.type)
                before = f.builder.load(place)
                _step(f, statement)
                after = f.builder.load(place)
                f.builder.store(selected(f.builder, condition, after, before), place)
            case Store():
                _store(f, statement, condition)
            case _:
                raise AssertionError(f"{statement} is not without a branch")
    f.fast = free


def _branches(f: Function, node: If) -> None:
    if node.even:
        _kept(f, node)
        return
    then, after = f.block("then"), f.block("after")
    otherwise = f.block("else") if node.otherwise else after
    branch = f.builder.cbranch(evaluate(f, node.condition), then, otherwise)
    if node.odds != 1:
        branch.set_weights([1, node.odds])
    for block, body in ((then, node.then), (otherwise, node.otherwise)):
        if block is not after:
            f.builder.position_at_end(block)
            _run(f, body)
            f.go(after)
    f.builder.position_at_end(after)


def _store(f: Function, node: Store, kept: Value = None) -> None:
    """Write a store: one that is not ``kept``, a bit, goes nowhere."""
    array = f.arrays[node.array]
    if lanes(node.value.type) > 1:
        if node.combine is not None:
            raise NeedsNumbaError("a vector combined")
        place = vector_place(f, node.array, node.subscripts, node.value.type)
        stored = f.builder.store(evaluate(f, node.value), place)
        stored.align = np.dtype(array.dtype).itemsize
        return
    value = converted_to(f, node.value, array.dtype)
    place = f.place(node.array, places(f, node.subscripts, node.proved))
    if node.combine is not None:
        operator = MONOIDS[node.combine].operator
        if array.dtype == BOOL:
            operator = operators.OF_BOOLS[operator]
        old = f.loaded(place, array.dtype)
        value = operation(operator)(f.builder, [old, value], array.dtype, f.fast)
    if array.dtype == BOOL:
        value = f.builder.zext(value, stored_type(BOOL))
    if kept is not None:
        place = selected(f.builder, kept, place, f.nowhere(value.type))
    if node.passing is not None and f.passing:
        _store_past(f, value, place, array.dtype)
    else:
        f.builder.store(value, place)


def _store_past(f: Function, value: Value, place: Value, dtype: str) -> None:
    """Store past the caches, as an int: of floats x86 has no such store."""
    bits = ir.IntType(8 * np.dtype(dtype).itemsize)
    direct = f.builder.module.add_metadata([ir.IntType(32)(1)])
    word, at = f.builder.bitcast(value, bits), f.builder.bitcast(place, bits.as_pointer())
    f.builder.store(word, at).set_metadata("nontemporal", direct)


def _allocate(f: Function, node: Allocate) -> None:
    sizes = [evaluate(f, extent) for extent in node.shape]
    array = f.workspace(node.array, node.dtype, len(sizes))
    f.renew(array, sizes)
    if node.value is None:
        return
    total = WORD(1)
    for size in sizes:
        total = f.builder.mul(total, size, flags=("nsw",))
    filled = constant(node.value.value, node.dtype)
    if node.dtype == BOOL:
        filled = ir.Constant(stored_type(BOOL), filled.constant)
    address = array.address()

    def fill(k: Value) -> None:
        f.builder.store(filled, f.builder.gep(address, [k]))

    f.each(total, fill)
