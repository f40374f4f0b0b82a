"""Running a kernel's Python once, with handles, to get its program.

Takes: the user's function and what is known of its arguments.  Gives: a verified contraction
program and the layouts asked for.  Invariant: the function is executed, never parsed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sparsedsl.contraction.nodes import Program, Tensor
from sparsedsl.contraction.verify import verify
from sparsedsl.errors import NotationError, Span
from sparsedsl.frontend.arguments import Argument, ArgumentInfo
from sparsedsl.frontend.outputs import Output, Trace, current
from sparsedsl.frontend.python_errors import in_words
from sparsedsl.frontend.spans import bounded_depth
from sparsedsl.frontend.surface import Value


@dataclass(frozen=True, slots=True)
class Traced:
    """A kernel's program.

    Attributes
    ----------
    layouts:
        Each output's layout as the user gave it, None where left to the compiler.
    result_is_tuple:
        The kernel returns a tuple of results, not a single one.
    shape_dependent:
        The kernel read a shape: the program holds for these shapes only.
    """

    program: Program
    layouts: dict[str, Any] = field(default_factory=dict[str, Any])
    result_is_tuple: bool = False
    shape_dependent: bool = False


def parameters(function: Callable[..., Any]) -> tuple[inspect.Parameter, ...]:
    """Return the kernel's parameters.

    Raises
    ------
    NotationError
        For ``*args``, ``**kwargs`` and keyword-only parameters, and for what is no plain function.
    """
    _check_function(function)
    found = tuple(inspect.signature(function).parameters.values())
    for parameter in found:
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            continue
        stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}
        raise NotationError(
            f"kernel {_name(function)}: expected plain parameters, found "
            f"'{stars.get(parameter.kind, '*, ')}{parameter.name}'",
            span=_definition(function),
            hint="give every tensor a parameter that has a place, in a def around the function",
        )
    return found


def _check_function(function: Any) -> None:
    """Refuse what would not run once, from its first line to its return, when it is called."""
    hint = "write @sd.kernel above a def, options as keywords"
    found: str | None = None
    if inspect.isclass(function):
        found = f"the class {function.__name__}"
    elif not callable(function):
        found = type(function).__name__
    elif hasattr(function, "py_func"):
        found = "one under @numba.njit"
        hint = "leave @numba.njit out: a kernel is traced, and its loops are compiled by Numba then"
    elif inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        found, hint = "a generator", "return the outputs in place of yielding them"
    elif inspect.iscoroutinefunction(function):
        found, hint = "a coroutine", "write def in place of async def"
    if found is not None:
        raise NotationError(f"expected a function to make a kernel of, found {found}", hint=hint)


def trace(function: Callable[..., Any], arguments: Sequence[ArgumentInfo]) -> Traced:
    """Run the kernel with handles for ``arguments`` and return its program.

    Trailing parameters that have defaults may be left out; they keep their defaults, as
    constants.

    Raises
    ------
    NotationError
        For a kernel that cannot be read; the message points at the line.
    """
    expected = parameters(function)
    required = [p for p in expected if p.default is p.empty]
    if not len(required) <= len(arguments) <= len(expected):
        names = ", ".join(p.name for p in expected)
        raise NotationError(
            f"kernel {_name(function)}: expected {len(expected)} arguments ({names}), "
            f"found {len(arguments)}",
            span=_definition(function),
        )
    inputs = {
        p.name: Tensor(p.name, len(info.shape), info.dtype, info.fill, info.total)
        for p, info in zip(expected, arguments, strict=False)
    }
    running = Trace(inputs)
    handles = [Argument(name, info, running) for name, info in zip(inputs, arguments, strict=True)]
    token = current.set(running)
    try:
        returned = function(*handles)
    except Exception as error:
        told = in_words(error)
        if told is None:
            raise
        raise told from None
    finally:
        current.reset(token)
    return _finish(function, running, returned)


def _finish(function: Callable[..., Any], running: Trace, returned: Any) -> Traced:
    several = isinstance(returned, tuple | list)
    results: list[Any] = list(returned) if several else [returned]
    if not results:
        raise _wrong_result(function, running, returned)
    for result in results:
        if not isinstance(result, Output) or result not in _identities(running.outputs):
            raise _wrong_result(function, running, result)
        if result.rank is None:
            raise NotationError(
                f"kernel {_name(function)} returns an output that nothing is assigned to",
                span=_definition(function),
                hint="assign to it first: C[i, j] = ...",
            )
    assigned = [o for o in running.outputs if o.rank is not None]
    program = Program(
        tuple(running.inputs.values()),
        tuple(o.tensor() for o in assigned),
        tuple(running.statements),
        tuple(result.name for result in results),
        tuple(running.extents.items()),
    )
    layouts = {o.name: o.layout for o in assigned}
    with bounded_depth():
        return Traced(verify(program), layouts, several, running.shape_used)


class _identities:  # noqa: N801
    """Membership by identity: handles compare to expressions, not to truth values."""

    def __init__(self, members: Sequence[Output]) -> None:
        self.ids = {id(member) for member in members}

    def __contains__(self, member: object) -> bool:
        return id(member) in self.ids


def _wrong_result(function: Callable[..., Any], running: Trace, found: Any) -> NotationError:
    names = [o.name for o in running.outputs if o.name]
    example = names[0] if names else "C"
    match found:
        case None:
            shown, hint = "None", f"end the kernel with: return {example}"
        case Argument():
            shown = f"the argument {found.name}"
            hint = "assign it to an sd.output() and return that"
        case Output():
            shown, hint = "an output of another kernel", "make the output inside this kernel"
        case Value():
            shown = f"the expression {found!r}"
            hint = "assign it: C = sd.output(); C[i, j] = ...; return C"
        case _:
            shown, hint = type(found).__name__, f"end the kernel with: return {example}"
    return NotationError(
        f"kernel {_name(function)}: expected outputs to be returned, found {shown}",
        span=_definition(function),
        hint=hint,
    )


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", "kernel")


def _definition(function: Callable[..., Any]) -> Span | None:
    code = getattr(function, "__code__", None)
    try:
        lines, first = inspect.getsourcelines(function)
    except (OSError, TypeError):
        return None if code is None else Span("", 0, 0, code.co_filename, code.co_firstlineno)
    for offset, line in enumerate(lines):
        if line.lstrip().startswith(("def ", "async def ")):
            text = line.rstrip("\n")
            column = len(text) - len(text.lstrip())
            file = code.co_filename if code is not None else ""
            return Span(text, column, len(text), file, first + offset)
    return None
