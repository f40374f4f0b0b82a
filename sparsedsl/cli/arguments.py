"""The text of options: layouts, shapes, files; and the tensors and engines they ask for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from sparsedsl.api import statement_engine
from sparsedsl.api import storage_bytes as storage_bytes_of
from sparsedsl.calls.choices import Choices
from sparsedsl.errors import LayoutError, NotationError
from sparsedsl.frontend.string import parse_statement
from sparsedsl.interop import asarray, from_arrays
from sparsedsl.interop.files import read
from sparsedsl.kernel import Engine
from sparsedsl.layouts.catalogue import AnyLayout, Family, layouts, resolve
from sparsedsl.layouts.describe import bytes_text, picture, storage_bytes
from sparsedsl.layouts.given import INDEX_LIMIT
from sparsedsl.layouts.layout import Layout
from sparsedsl.layouts.properties import property_text
from sparsedsl.runtime.tensor import Tensor
from sparsedsl.spf import terms

ENTRIES_A_ROW = 8
"""Stored entries that a made-up tensor has for each of its first coordinates."""


def pairs(text: str, option: str, example: str) -> dict[str, str]:
    """``"A=csr,B=bcsr(2,2)"`` by name; commas inside parentheses do not separate."""
    found: dict[str, str] = {}
    for part in filter(None, (p.strip() for p in re.split(r",(?![^()]*\))", text))):
        name, equals, value = (s.strip() for s in part.partition("="))
        if not (name and equals and value):
            raise NotationError(
                f"{option}: expected NAME=VALUE, found '{part}'", hint=f"such as {example}"
            )
        if name in found:
            raise NotationError(f"{option}: expected one value for {name}, found two")
        found[name] = value
    return found


def layout_of(text: str) -> AnyLayout:
    """``"csr"`` or ``"bcsr(3,3)"``; a name alone has its usual block sizes."""
    found = _named(text)
    return found if "(" in text else layouts.usual(text.strip())


def _named(text: str) -> AnyLayout:
    """As it is written: block sizes that are not given stay open."""
    read = re.fullmatch(r"\s*(\w+)\s*(?:\(([\d,\s]*)\))?\s*", text)
    if read is None:
        raise LayoutError(
            f"expected a layout's name, found '{text}'",
            hint="such as csr or bcsr(2,2), with a comma before the next NAME=LAYOUT",
        )
    sizes = [int(size) for size in (read[2] or "").split(",") if size.strip()]
    found = layouts[read[1]]
    return found(*sizes) if sizes else found


def engine(
    statement: str, names: Sequence[str], out: str = "", order: str = "", find: str = "auto"
) -> Engine:
    """The engine of a statement whose inputs come in the order of ``names``."""
    chosen: Any = pairs(find, "--find", "A=merge") if "=" in find else find
    choices = Choices(
        out=layout_of(out) if out else None, order=order or None, find=chosen or "auto"
    )
    return statement_engine(statement, names, choices)


def _accesses(statement: str) -> dict[str, list[str]]:
    """Subscripts of each tensor on the right of a statement, by its name."""
    if statement.count("[") != statement.count("]"):
        parse_statement(statement, {})  # says where it cannot be read
    _, _, right = statement.partition("=")
    found: dict[str, list[str]] = {}
    for name, inside in re.findall(r"([A-Za-z_]\w*)\s*\[([^\[\]]*)\]", right):
        found.setdefault(name, [s.strip() for s in inside.split(",") if s.strip()])
    if not found:
        raise NotationError(
            f"expected a statement with tensors on its right, found '{statement}'",
            hint='such as "C[i,j] = A[i,k] * B[k,j]"',
        )
    return found


def loaded(statement: str, files: Sequence[str], chosen: str) -> dict[str, Tensor]:
    """Tensors from ``NAME=FILE``, in the order the statement names them."""
    given = _read(files)
    wanted = _accesses(statement)
    missing = [name for name in wanted if name not in given]
    if missing:
        raise NotationError(
            f"expected a file for each tensor, found none for {', '.join(missing)}",
            hint=f"add --tensor {missing[0]}=FILE",
        )
    _all_used(given, wanted, "--tensor")
    stored = pairs(chosen, "--layouts", "A=csr")
    _all_used(stored, wanted, "--layouts")
    return {
        name: given[name].convert(layout_of(stored[name])) if name in stored else given[name]
        for name in wanted
    }


def alone(rest: Sequence[str]) -> None:
    """Refuse what is given after a statement without saying what it is.

    Raises
    ------
    NotationError
        For anything; it says how files of tensors are given.
    """
    if rest:
        file = rest[0] if "=" in rest[0] else f"A={rest[0]}"
        raise NotationError(
            f"expected one statement, found '{rest[0]}' after it",
            hint=f"give the file of a tensor with -t: -t {file}",
        )


def _read(files: Sequence[str]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for text in files:
        name, equals, path = text.partition("=")
        if not (name and equals and path):
            raise NotationError(
                f"--tensor: expected NAME=FILE, found '{text}'", hint="such as A=matrix.mtx"
            )
        if name.strip() in found:
            raise NotationError(f"--tensor: expected one file for {name.strip()}, found two")
        found[name.strip()] = read(path.strip())
    return found


def _all_used(given: Any, wanted: Any, option: str) -> None:
    for name in given:
        if name not in wanted:
            raise NotationError(
                f"{option}: the statement has no tensor '{name}'",
                hint=f"its tensors are {', '.join(wanted)}",
            )


def tensors(
    statement: str,
    *,
    layouts: str = "",
    shapes: str = "",
    counts: str = "",
    files: Sequence[str] = (),
) -> dict[str, Tensor]:
    """Tensors for planning: from files, else made up with the asked layouts and shapes."""
    wanted = _accesses(statement)
    given = _read(files)
    stored = pairs(layouts, "--layouts", "A=csr,B=bcsr(2,2)")
    numbers = pairs(counts, "--nnz", "A=5000")
    for asked, option in ((given, "--tensor"), (stored, "--layouts"), (numbers, "--nnz")):
        _all_used(asked, wanted, option)
    extents, stated = _extents(wanted, pairs(shapes, "--shape", "i=100,A=100x80"), given)
    made: dict[str, Tensor] = {}
    for name, subscripts in wanted.items():
        layout = layout_of(stored[name]) if name in stored else None
        if name in given:
            made[name] = given[name] if layout is None else given[name].convert(layout)
            continue
        shape = stated.get(name) or _shape(name, subscripts, extents)
        count = _whole(numbers[name], "--nnz") if name in numbers else None
        if count is not None and count > prod(shape):
            size = "x".join(map(str, shape))
            raise NotationError(
                f"--nnz: expected at most {prod(shape)} entries of {name}, which is {size}, "
                f"found {count}",
                hint=f"--shape gives it other extents: {name}={size}",
            )
        made[name] = _made_up(shape, layout, count)
    return made


def _extents(
    wanted: dict[str, list[str]], asked: dict[str, str], given: dict[str, Tensor]
) -> tuple[dict[str, int], dict[str, tuple[int, ...]]]:
    """Extents by index, and shapes by tensor; what nothing says is 1000, or 100 for order 3."""
    indices = {s for subscripts in wanted.values() for s in subscripts if s.isidentifier()}
    default = 1000 if max(map(len, wanted.values())) < 3 else 100
    extents: dict[str, int] = {}
    stated = {name: tensor.shape for name, tensor in given.items()}
    for name, text in asked.items():
        if name in wanted:
            stated[name] = tuple(_whole(n, "--shape") for n in re.split("[x*]", text))
        elif name in indices:
            extents[name] = _whole(text, "--shape")
        else:
            raise NotationError(
                f"--shape: the statement has no index or tensor '{name}'",
                hint=f"it has {', '.join([*sorted(indices), *wanted])}",
            )
    for name, shape in stated.items():
        if len(shape) != len(wanted[name]):
            raise NotationError(
                f"{name} has {len(wanted[name])} subscripts, found {len(shape)} extents"
            )
        extents = dict(zip(wanted[name], shape, strict=True)) | extents
    return {i: extents.get(i, default) for i in indices}, stated


def _shape(name: str, subscripts: list[str], extents: dict[str, int]) -> tuple[int, ...]:
    for subscript in subscripts:
        if subscript not in extents:
            raise NotationError(
                f"expected the shape of {name}, whose subscript '{subscript}' is no plain index",
                hint=f"add --shape {name}={'x'.join('100' for _ in subscripts)}",
            )
    return tuple(extents[s] for s in subscripts)


def _whole(text: str, option: str) -> int:
    if not text.strip().isdecimal() or int(text) > INDEX_LIMIT:
        raise NotationError(f"{option}: expected a whole number from 0 to 2**56, found '{text}'")
    return int(text)


def _made_up(shape: tuple[int, ...], layout: AnyLayout | None, count: int | None) -> Tensor:
    """Random entries in a layout; all of them without one."""
    rng = np.random.default_rng(0)
    if layout is None:
        return asarray(rng.random(shape))
    size = float(np.prod(np.array(shape, dtype="float64")))
    wanted = ENTRIES_A_ROW * shape[0] if count is None and shape else count or 1
    drawn = int(min(wanted, size))
    coords = np.stack([rng.integers(0, max(n, 1), drawn) for n in shape])
    coords = np.unique(coords[:, : 0 if size == 0 else None], axis=1)
    names = resolve("coo", len(shape)).functions
    columns = dict(zip(names, coords, strict=True))
    values = rng.random(coords.shape[1]) + 0.5
    return from_arrays("coo", shape, {**columns, "data": values}).convert(layout)


def _single(name: str, order: int) -> Layout:
    found = _named(name)
    return found.of(order) if isinstance(found, Family) else found


def summary() -> list[dict[str, Any]]:
    """Name and a few words of every layout."""
    records: list[dict[str, Any]] = []
    for name, entry in layouts.items():
        about = layouts.summary(name)
        if isinstance(entry, Family):
            about = f"any order: {about}"
        records.append({"name": name, "about": about})
    return records


EXAMPLE_SIZE = 2
"""Block size for which a layout is shown when none is given."""


def drawn_layout(name: str, order: int) -> str:
    """The picture of a layout, as SVG; block sizes are those of its example."""
    from sparsedsl.pictures.storage import storage

    layout = _single(name, order)
    return storage(layout(*(EXAMPLE_SIZE for _ in layout.blocks)) if layout.blocks else layout)


def specification(
    name: str, order: int, asked: tuple[str, int, str], tensor: Path | None
) -> dict[str, Any]:
    """Everything a layout is made of, as text, and the bytes that are asked for.

    ``asked`` are a shape, a number of entries and lengths; ``tensor`` is a file of one.
    """
    held = None if tensor is None else read(tensor)
    layout = _single(name, order if held is None else held.ndim)
    free = layout.blocks
    shown = layout(*(EXAMPLE_SIZE for _ in free)) if free else layout
    arrays: list[str] = []
    for array in shown.arrays:
        lengths = " x ".join("any" if a is None else terms.text(a) for a in shown.lengths[array])
        kind = "values" if array == shown.value.function else "int32 or int64"
        arrays.append(f"{array}: length {lengths or 1}, {kind}")
    sizes = f"arrays, bytes and example for {shown.label}"
    return {
        "name": layout.label,
        "relation": layout.text,
        "value": terms.text(terms.atom(layout.value)),
        "properties": [property_text(item) for item in layout.properties],
        "block sizes": [f"{', '.join(free)} ({sizes})"] if free else [],
        "arrays": arrays,
        "bytes": [
            f"{bytes_text(shown)} (w an index, v a value)",
            *_taken(shown, *asked),
            *([] if held is None else [f"{storage_bytes_of(held, shown)} for {tensor}"]),
        ],
        "example": picture(shown).splitlines(),
    }


def _taken(layout: Layout, shape: str, nnz: int, counts: str) -> list[str]:
    """The bytes of a tensor of that shape and number of float64 values, before it is built."""
    if not shape:
        return []
    extents = tuple(_whole(part, "--shape") for part in re.split("[x*]", shape))
    if len(extents) != layout.rank:
        raise NotationError(
            f"--shape: expected {layout.rank} extents for '{layout.label}', found '{shape}'"
        )
    given = pairs(counts, "--counts", "indices=300")
    known = {name: _whole(text, "--counts") for name, text in given.items()}
    return [f"{storage_bytes(layout, extents, nnz, known)} for {shape} with {nnz} entries"]
