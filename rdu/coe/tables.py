"""Tables of a user's TOML file: read, and checked key by key."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from rdu.errors import SpecError


def read_toml(path: str | Path, what: str) -> Mapping[str, Any]:
    """Read a TOML file; ``what`` it is goes into the messages.

    Raises
    ------
    SpecError
        For a file that cannot be read or is no TOML.
    """
    try:
        with Path(path).open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise SpecError(f"cannot read the {what} file {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SpecError(f"{path} is not a TOML file: {error}") from error


def section(
    data: object, name: str, where: str, needed: Sequence[str], optional: Sequence[str] = ()
) -> Mapping[str, Any]:
    """The table ``name`` (``""`` for the whole file) with all of ``needed`` and no other keys.

    Raises
    ------
    SpecError
        Naming the file, the table and the key.
    """
    label = f"[{name}]" if name else "the top level"
    if not isinstance(data, Mapping):
        raise SpecError(f"{where}: {label} must be a table, found {data!r}")
    found = cast("Mapping[str, Any]", data)
    allowed = (*needed, *optional)
    for key in found:
        if key not in allowed:
            raise SpecError(
                f"{where}: unknown key {key!r} in {label}", hint=f"known keys: {', '.join(allowed)}"
            )
    for key in needed:
        if key not in found:
            raise SpecError(f"{where}: missing key {key!r} in {label}")
    return found


def number(table: Mapping[str, Any], path: str, where: str) -> float:
    """A number, not a flag."""
    value = table[path.rsplit(".", 1)[-1]]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SpecError(f"{where}: {path} must be a number, found {value!r}")
    if isinstance(value, int) and abs(value) > 10**18:
        raise SpecError(f"{where}: {path} is too large: {value}")
    return float(value)


def amount(table: Mapping[str, Any], path: str, where: str, *, zero: bool = True) -> float:
    """A finite number of at least 0; above 0 without ``zero``."""
    value = number(table, path, where)
    if not (math.isfinite(value) and (value > 0 or (zero and value == 0))):
        least = "at least 0" if zero else "above 0"
        raise SpecError(f"{where}: {path} must be finite and {least}, found {value:g}")
    return value


def whole(table: Mapping[str, Any], path: str, where: str) -> int:
    """A whole number from 1."""
    value = table[path.rsplit(".", 1)[-1]]
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise SpecError(f"{where}: {path} must be a whole number from 1, found {value!r}")
    return value


def text(table: Mapping[str, Any], path: str, where: str) -> str:
    """A string."""
    value = table[path.rsplit(".", 1)[-1]]
    if not isinstance(value, str):
        raise SpecError(f"{where}: {path} must be a string, found {value!r}")
    return value


def flag(table: Mapping[str, Any], path: str, where: str) -> bool:
    """True or false."""
    value = table[path.rsplit(".", 1)[-1]]
    if not isinstance(value, bool):
        raise SpecError(f"{where}: {path} must be true or false, found {value!r}")
    return value
