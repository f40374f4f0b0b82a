"""A kernel of the loop IR to object code, by LLVM alone.

Takes: a kernel and the types of its arguments.  Gives: ``Code`` for this process, or an object file
for programs in C; None where Numba is needed to compile it.  Invariant: the code is what Numba
would make of the printed Python, at the same level of optimisation; neither Numba's types nor its
libraries are loaded, which takes longer than all else that a first call does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from llvmlite import binding, ir

from sparsedsl.codegen import llvm_loops, llvm_target
from sparsedsl.codegen.llvm_function import BYTES
from sparsedsl.codegen.llvm_kernel import kernel_function
from sparsedsl.codegen.llvm_scalars import PORTABLE, WORD, NeedsNumbaError
from sparsedsl.codegen.machine import AXES, HEAD, Code, words
from sparsedsl.codegen.python import freedoms
from sparsedsl.loops.nodes import Allocate, ArrayParam, For, Kernel
from sparsedsl.loops.scatter import only_scatters
from sparsedsl.loops.walk import statements

_OBJECTS = BYTES.as_pointer()


def direct_code(
    kernel: Kernel, arguments: Sequence[tuple[str, int]], name: str, *, fastmath: bool
) -> Code | None:
    """Return a kernel's object code, its function called ``name``.

    Parameters
    ----------
    kernel:
        A verified kernel, all of whose subscripts are in range.
    arguments:
        What ``codegen.machine.kinds`` says of its arguments.
    fastmath:
        As for ``codegen.python.source``.

    Returns
    -------
    Code or None
        None for other arguments than the kernel's, and a kernel that Numba is needed for.
    """
    kinds = tuple(
        (p.dtype, p.ndim) if isinstance(p, ArrayParam) else ("int64", -1) for p in kernel.params
    )
    if kinds != tuple(arguments):
        return None
    module = _compiled(kernel, name, fastmath, llvm_target.machine(shared=False), _entry)
    if module is None:
        return None
    needs = sorted(
        f.name for f in module.functions if f.is_declaration and not f.name.startswith("llvm.")
    )
    return replace(llvm_target.code(module, name, needs), returns=_returned(kernel))


def c_object(kernel: Kernel, name: str, *, fastmath: bool) -> bytes | None:
    """Return an object file for programs in C, which needs the C library alone.

    Its function is ``int32_t name(arrays and ints, int64_t *counts)``, or without ``counts`` where
    the kernel returns none: of an array its address, then the length of each axis.  It returns 1
    where memory ran out, else 0.  Any processor of this one's family runs it.

    Parameters
    ----------
    kernel, fastmath:
        As for ``direct_code``.

    Returns
    -------
    bytes or None
        None for a kernel that Numba is needed for, and one that returns arrays.
    """
    if any(axes >= 0 for _, axes in _returned(kernel)):
        return None
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    target = binding.Target.from_default_triple()
    machine = target.create_target_machine(opt=3, reloc="pic", codemodel="default")
    module = _compiled(kernel, name, fastmath, machine, _c_entry, portable=True)
    return None if module is None else machine.emit_object(module)


def sums_as_told(kernel: Kernel) -> bool:
    """Whether the order of a kernel's sums follows from how often its loops turn alone.

    Each element then has the same bits where loops compute other outputs, too.  It is not so where
    LLVM makes vectors of a loop, or Numba compiles it.
    """
    try:
        kernel_function(ir.Module(kernel.name), kernel, freedoms(kernel))
    except NeedsNumbaError:
        return False
    loops = (s for s in statements(kernel.body) if isinstance(s, For))
    return all(llvm_loops.as_told(loop) for loop in loops)


def _compiled(
    kernel: Kernel,
    name: str,
    fastmath: bool,
    machine: Any,
    enter: Callable[..., None],
    *,
    portable: bool = False,
) -> Any:
    """Return the optimised module of a kernel and of what ``enter`` adds to it, or None.

    ``portable``: for any processor of a family, whatever instructions it lacks.
    """
    module: Any = ir.Module(name)
    if portable:
        module.add_named_metadata(PORTABLE)
    module.triple = machine.triple
    module.data_layout = str(machine.target_data)
    try:
        function = kernel_function(module, kernel, freedoms(kernel) if fastmath else ())
    except NeedsNumbaError:
        return None
    enter(module, function, kernel, name)
    parsed = binding.parse_assembly(llvm_loops.told(str(module)))
    parsed.verify()
    _optimise(parsed, machine, unrolled=not only_scatters(kernel))
    return parsed


def _optimise(module: Any, machine: Any, *, unrolled: bool) -> None:
    """Run LLVM's passes on a module."""
    tuning = binding.create_pipeline_tuning_options(speed_level=3)
    tuning.slp_vectorization = False
    tuning.loop_unrolling = unrolled
    builder = binding.create_pass_builder(machine, tuning)
    builder.getModulePassManager().run(module, builder)


def _entry(module: Any, function: Any, kernel: Kernel, name: str) -> None:
    """Add a function of CPython's fast calling convention that calls the kernel's."""
    entry = ir.Function(module, ir.FunctionType(BYTES, [BYTES, _OBJECTS, WORD]), name)
    builder = ir.IRBuilder(entry.append_basic_block())
    _, given, _ = entry.args

    def python(called: str, result: Any, *values: Any) -> Any:
        kind = ir.FunctionType(result, [value.type for value in values])
        declared = module.globals.get(called) or ir.Function(module, kind, called)
        return builder.call(declared, values)

    passed: list[Any] = []
    for place, param in enumerate(kernel.params):
        item = builder.load(builder.gep(given, [WORD(place)]))
        if isinstance(param, ArrayParam):
            kind = function.args[len(passed)].type
            passed += _array(builder, item, kind, param.ndim)
        else:
            passed.append(python("PyLong_AsLongLong", WORD, item))
    count = sum(words(axes) for _, axes in _returned(kernel))
    results = builder.alloca(WORD, WORD(max(count, 1)))
    thread = python("PyEval_SaveThread", BYTES)
    status = builder.call(function, [*passed, results])
    python("PyEval_RestoreThread", ir.VoidType(), thread)
    with builder.if_then(builder.icmp_signed("!=", status, status.type(0)), likely=False):
        builder.ret(python("PyErr_NoMemory", BYTES))
    found = python("PyTuple_New", BYTES, WORD(count))
    for k in range(count):
        value = builder.load(builder.gep(results, [WORD(k)]))
        item = python("PyLong_FromLongLong", BYTES, value)
        python("PyTuple_SetItem", ir.IntType(32), found, WORD(k), item)
    builder.ret(found)


def _returned(kernel: Kernel) -> tuple[tuple[str, int], ...]:
    """Return dtype and number of axes of each result, as ``codegen.machine.kinds`` has them."""
    made = {x.array: x for x in statements(kernel.body) if isinstance(x, Allocate)}
    return tuple(
        (made[name].dtype, len(made[name].shape)) if name in made else ("int64", -1)
        for name in kernel.results
    )


def _c_entry(module: Any, function: Any, kernel: Kernel, name: str) -> None:
    """Add a function that passes on what it is given, as C calls it."""
    *given, counts = function.function_type.args
    kinds = [*given, counts] if kernel.results else given
    entry = ir.Function(module, ir.FunctionType(function.function_type.return_type, kinds), name)
    builder = ir.IRBuilder(entry.append_basic_block())
    passed = entry.args if kernel.results else [*entry.args, ir.Constant(counts, None)]
    builder.ret(builder.call(function, passed))


def _array(builder: Any, item: Any, kind: Any, axes: int) -> list[Any]:
    """Return where an array's data lie and how long its axes are, from its object."""

    def field(offset: int, type: Any) -> Any:
        place = builder.gep(item, [WORD(offset)])
        return builder.load(builder.bitcast(place, type.as_pointer()))

    lengths = field(AXES, WORD.as_pointer()) if axes else None
    shape = [builder.load(builder.gep(lengths, [WORD(axis)])) for axis in range(axes)]
    return [field(HEAD, kind), *shape]
