"""The text of a user's function, with everything it reads written into it.

Takes: a Numba dispatcher.  Gives: a name that holds a hash of the text, and the text of a
module-level function of that name.  Invariant: the text names builtins, ``np``, ``math`` and
functions defined above it alone.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import math
import textwrap
from types import ModuleType
from typing import Any

import numpy as np

from sparsedsl.errors import NotationError

_MODULES = {"numpy": "np", "math": "math"}


def text_of(dispatcher: Any, facts: str = "") -> tuple[str, str]:
    """Return the name and the text of a dispatcher's function; ``facts`` go into the hash.

    Raises
    ------
    NotationError
        If its source cannot be read, or it reads what cannot be written down.
    """
    python = dispatcher.py_func
    tree = _definition(python)
    variables = inspect.getclosurevars(python)
    put: dict[str, ast.expr] = {}
    above: list[str] = []
    for name, value in {**variables.globals, **variables.nonlocals}.items():
        put[name] = _written(name, value, python, above)
    if variables.unbound - _attributes(tree):
        unknown = ", ".join(sorted(variables.unbound - _attributes(tree)))
        raise NotationError(f"{python.__name__} reads {unknown}, which has no value")
    body = _Written(put).visit(tree)
    body.name = "name"
    content = "\n".join([*above, ast.unparse(ast.fix_missing_locations(body)), facts])
    body.name = f"{python.__name__}_{hashlib.sha256(content.encode()).hexdigest()[:10]}"
    text = f"@register_jitable\n{ast.unparse(body)}\n"
    return body.name, "\n\n".join([*above, text])


def _definition(python: Any) -> ast.FunctionDef:
    """Return the function's definition, without decorators, annotations and docstring."""
    try:
        source = textwrap.dedent(inspect.getsource(python))
        parsed = ast.parse(source).body[0]
    except (OSError, SyntaxError, TypeError):
        parsed = None
    if not isinstance(parsed, ast.FunctionDef):
        raise NotationError(
            f"expected a function whose source can be read, found {python.__name__}",
            hint="write it as a def in a file, not as a lambda",
        )
    parsed.decorator_list = []
    parsed.returns = None
    for argument in (*parsed.args.posonlyargs, *parsed.args.args):
        argument.annotation = None
    if parsed.args.defaults or parsed.args.kwonlyargs or parsed.args.vararg or parsed.args.kwarg:
        raise NotationError(
            f"expected {python.__name__} to take arguments by position alone, without defaults"
        )
    if ast.get_docstring(parsed) is not None:
        parsed.body = parsed.body[1:] or [ast.Pass()]
    return parsed


def _attributes(tree: ast.AST) -> set[str]:
    return {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def _written(name: str, value: Any, python: Any, above: list[str]) -> ast.expr:
    """Return how a name that the function reads is written; functions go ``above`` it."""
    if isinstance(value, ModuleType) and value.__name__ in _MODULES:
        return ast.Name(_MODULES[value.__name__], ast.Load())
    if isinstance(value, bool | int | float | complex | np.generic):
        plain = value.item() if isinstance(value, np.generic) else value
        return ast.parse(_number(plain), mode="eval").body
    if hasattr(value, "py_func"):
        inner, text = text_of(value)
        above.append(text)
        return ast.Name(inner, ast.Load())
    for module, short in ((np, "np"), (math, "math")):
        own = getattr(value, "__name__", "")
        if own and getattr(module, own, None) is value:
            return ast.Attribute(ast.Name(short, ast.Load()), own, ast.Load())
    raise NotationError(
        f"{python.__name__} reads {name}, a {type(value).__name__}, which a kernel cannot hold",
        hint="pass it as an argument, or make it a number",
    )


def _number(value: complex) -> str:
    """Return a number as text that gives it back, infinities and NaN too."""
    if isinstance(value, complex):
        return f"complex({_number(value.real)}, {_number(value.imag)})"
    if isinstance(value, float) and not math.isfinite(value):
        return "np.nan" if value != value else ("np.inf" if value > 0 else "-np.inf")
    return repr(value)


class _Written(ast.NodeTransformer):
    """Puts what names stand for in place of them, where the function does not bind them."""

    def __init__(self, put: dict[str, ast.expr]) -> None:
        self.put = put

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if isinstance(node.ctx, ast.Load) and node.id in self.put:
            return self.put[node.id]
        return node
