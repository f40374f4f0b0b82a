"""A generated kernel to object code that runs without Numba.

Takes: a Numba dispatcher and what its arguments are.  Gives: ``Code``, or None where the code
would need more than LLVM and the C library.  Invariant: the kernel is compiled by Numba, as its
dispatcher would compile it; only its wrapper is another.

Numba's own wrapper counts references to each argument in its run-time.  The one made here reads
array objects where they lie (``codegen.machine``), and the memory of workspaces is C's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import from_dtype, types
from numba.core import cgutils, compiler
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler_lock import global_compiler_lock
from numba.core.errors import NumbaError
from numba.core.registry import cpu_target
from numba.np.arrayobj import populate_array

from sparsedsl.codegen import llvm_target
from sparsedsl.codegen.machine import AXES, HEAD, Code
from sparsedsl.codegen.numba_on import compiling_enabled

_WORD = ir.IntType(64)
_BYTES = _OBJECT = ir.IntType(8).as_pointer()
_OBJECTS = _OBJECT.as_pointer()

_RECORD = ir.LiteralStructType([_WORD, _BYTES, _BYTES, _BYTES, _WORD])
"""What Numba keeps of memory: references, two fields for a destructor, the data and its size."""


class _Library(JITCodeLibrary):
    """Code that is written to an object file, and never handed to Numba's own engine."""

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True

    def module(self) -> Any:
        """Return what was compiled, optimised once the library is final."""
        return self._final_module


def linkable_code(dispatcher: Any, arguments: Sequence[tuple[str, int]], name: str) -> Code | None:
    """Return a kernel's object code, its function called ``name``.

    Parameters
    ----------
    dispatcher:
        What ``codegen.numba_jit.load`` returns.
    arguments:
        What ``codegen.machine.kinds`` says of its arguments.

    Returns
    -------
    Code or None
        None for what is no dispatcher, a kernel that Numba refuses, and one that calls Python,
        Numba's run-time or a library that is not in every process: its dispatcher is to be called.
    """
    if not hasattr(dispatcher, "py_func"):
        return None
    signature = tuple(
        types.Array(from_dtype(np.dtype(dtype)), axes, "C") if axes >= 0 else types.int64
        for dtype, axes in arguments
    )
    flags: Any = compiler.Flags()
    cpu_target.options.parse_as_flags(flags, dispatcher.targetoptions)
    flags.no_cpython_wrapper = flags.no_cfunc_wrapper = flags.no_compile = True
    target: Any = cpu_target.target_context
    with global_compiler_lock, compiling_enabled():
        library = _Library(target.codegen(), name)
        try:
            compiled = compiler.compile_extra(
                *(cpu_target.typing_context, target, dispatcher.py_func),
                *(signature, None, flags, {}, library),
            )
        except NumbaError:
            return None
        returned = getattr(compiled.signature.return_type, "types", None)
        if returned is None or any(kind != types.int64 for kind in returned):
            return None
        library.add_ir_module(_entry(target, compiled, name))
        library.finalize()
        module = library.module()
        for function in module.functions:
            # so that nothing of it is taken for what another library calls by the same name
            if not function.is_declaration and function.name != name:
                function.linkage = "internal"
        needs = _needs(module)
        if needs is None:
            return None
        return llvm_target.code(module, name, needs)


_OWN = (
    *("PyLong_AsLongLong", "PyLong_FromLongLong", "PyTuple_New", "PyTuple_SetItem"),
    *("PyEval_SaveThread", "PyEval_RestoreThread", "PyBytes_FromStringAndSize", "PyErr_SetObject"),
    *("PyImport_ImportModule", "PyObject_CallMethod", "PyTuple_GetItem"),
)
"""What the wrapper calls of Python; a kernel that calls more needs Numba."""


def _needs(module: Any) -> tuple[str, ...] | None:
    """Return the functions that code calls; None if it needs anything of Numba."""
    if any(value.is_declaration for value in module.global_variables):
        return None
    called = {
        function.name
        for function in module.functions
        if function.is_declaration and not function.name.startswith("llvm.")
    }
    # what Numba defines is there only where it is loaded
    foreign = any(name.startswith(("NRT_", "numba_", "Py", "_Py")) for name in called - {*_OWN})
    unknown = any(binding.address_of_symbol(name) is None for name in called)
    return None if foreign or unknown else tuple(sorted(called))


def _entry(target: Any, compiled: Any, name: str) -> Any:
    """Return a module with a function of Python's that calls the kernel."""
    described = compiled.fndesc
    module = target.create_module(name)
    kind = target.call_conv.get_function_type(described.restype, described.argtypes)
    kernel = ir.Function(module, kind, described.llvm_func_name)
    entry = ir.Function(module, ir.FunctionType(_OBJECT, [_OBJECT, _OBJECTS, _WORD]), name)
    builder = ir.IRBuilder(entry.append_basic_block())
    python = target.get_python_api(builder)
    _, given, _ = entry.args
    values: list[Any] = []
    for place, expected in enumerate(described.argtypes):
        item = builder.load(builder.gep(given, [_WORD(place)]))
        array = isinstance(expected, types.Array)
        values.append(
            _array(target, builder, expected, item) if array else python.long_as_longlong(item)
        )
    thread = python.save_thread()
    status, result = target.call_conv.call_function(
        builder, kernel, described.restype, described.argtypes, values, ("noinline",)
    )
    python.restore_thread(thread)
    with builder.if_then(status.is_error, likely=False):
        _raise(target, builder, python, status)
    found = python.tuple_new(len(described.restype.types))
    for k in range(len(described.restype.types)):
        item = python.long_from_longlong(builder.extract_value(result, k))
        python.tuple_setitem(found, k, item)
    builder.ret(found)
    _define_memory(module)
    return module


def _raise(target: Any, builder: Any, python: Any, status: Any) -> None:
    """Raise what Numba's record of an error says: a pickled class and its arguments."""
    record = builder.load(status.excinfoptr)
    data, size = (builder.extract_value(record, k) for k in range(2))
    pickled = python.bytes_from_string_and_size(data, builder.sext(size, _WORD))
    pickle = python.import_module(target.insert_const_string(builder.module, "pickle"))
    parts = python.call_method(pickle, "loads", [pickled])
    python.err_set_object(python.tuple_getitem(parts, 0), python.tuple_getitem(parts, 1))
    builder.ret(python.get_null_object())


def _array(target: Any, builder: Any, kind: Any, item: Any) -> Any:
    """Return an array as Numba passes it, from the address of its object."""

    def field(offset: int, pointed: Any) -> Any:
        place = builder.gep(builder.bitcast(item, _BYTES), [_WORD(offset)])
        return builder.load(builder.bitcast(place, pointed.as_pointer()))

    made = target.make_array(kind)(target, builder)
    lengths = field(AXES, _WORD.as_pointer())
    shape = [builder.load(builder.gep(lengths, [_WORD(axis)])) for axis in range(kind.ndim)]
    element = target.get_data_type(kind.dtype)
    size = _WORD(target.get_abi_sizeof(element))
    strides = [size] if shape else []
    for length in reversed(shape[1:]):
        strides.insert(0, builder.mul(strides[0], length))
    data = builder.bitcast(field(HEAD, _BYTES), element.as_pointer())
    populate_array(made, data, shape, strides, size, None)
    return made._getvalue()


def _define_memory(module: Any) -> None:
    """Define what workspaces are allocated and freed with, by C's functions.

    They are put where Numba's code looks for its own, and are linked into it.
    """
    size = ir.IntType(64)
    malloc = ir.Function(module, ir.FunctionType(_BYTES, [size]), "malloc")
    free = ir.Function(module, ir.FunctionType(ir.VoidType(), [_BYTES]), "free")
    kind = ir.FunctionType(_BYTES, [size, ir.IntType(32)])
    for name in ("NRT_MemInfo_alloc_aligned", "NRT_MemInfo_alloc_safe_aligned"):
        allocate = ir.Function(module, kind, name)
        _allocation(allocate, malloc)
    release = ir.Function(module, ir.FunctionType(ir.VoidType(), [_BYTES]), "NRT_MemInfo_call_dtor")
    builder = ir.IRBuilder(release.append_basic_block())
    builder.call(free, release.args)
    builder.ret_void()


def _allocation(function: Any, malloc: Any) -> None:
    """Fill in: a record, and after it as many bytes as asked for, aligned as asked for."""
    builder = ir.IRBuilder(function.append_basic_block())
    size, asked = function.args
    align = builder.zext(asked, _WORD)
    head = _WORD(64)
    room = builder.add(size, builder.add(head, align))
    memory = builder.call(malloc, [room])
    # so large that the sum went around, or more than there is
    overflown = builder.icmp_unsigned("<", room, size)
    none = builder.icmp_unsigned("==", memory, cgutils.get_null_value(_BYTES))
    with builder.if_then(builder.or_(none, overflown), likely=False):
        builder.ret(cgutils.get_null_value(_BYTES))
    start = builder.add(builder.ptrtoint(memory, _WORD), builder.add(head, align))
    data = builder.and_(start, builder.neg(align))
    record = builder.bitcast(memory, _RECORD.as_pointer())
    nothing = cgutils.get_null_value(_BYTES)
    fields = (_WORD(1), nothing, nothing, builder.inttoptr(data, _BYTES), size)
    for k, value in enumerate(fields):
        builder.store(value, cgutils.gep_inbounds(builder, record, 0, k))
    builder.ret(memory)
