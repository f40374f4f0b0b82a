"""Traces in CSV files."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rdu.errors import SpecError

_COLUMNS = ("expert", "arrival_s", "conversation")


@dataclass(frozen=True, slots=True)
class Rows:
    """What a file says: expert numbers of shape ``(requests, steps)``, and the two columns."""

    experts: npt.NDArray[np.int64]
    arrivals: npt.NDArray[np.float64] | None
    conversations: npt.NDArray[np.int64] | None


def read_rows(path: str | Path, names: Sequence[str]) -> Rows:
    """Read a CSV file with a header: ``expert`` and maybe ``arrival_s`` and ``conversation``.

    Parameters
    ----------
    names:
        Of the experts that may be asked for; a number beyond them is refused. Without, any is
        taken.

    Raises
    ------
    SpecError
        Naming the file and line of what cannot be read.
    """
    numbers = {name: n for n, name in enumerate(names)}
    rows: list[list[int]] = []
    times: list[float] = []
    labels: list[str] = []
    for place, row in _lines(path):
        rows.append([_expert(cell, numbers, place) for cell in row["expert"].split(">")])
        if "arrival_s" in row:
            times.append(_seconds(row["arrival_s"], times[-1] if times else 0.0, place))
        labels.append(row.get("conversation", "").strip())
    if not rows:
        raise SpecError(f"{path}: the trace has a header and no requests")
    table = np.full((len(rows), max(map(len, rows))), -1, np.int64)
    for n, chain in enumerate(rows):
        table[n, : len(chain)] = chain
    known = {label: n for n, label in enumerate(dict.fromkeys(filter(None, labels)))}
    talks = np.array([known.get(label, -1) for label in labels]) if known else None
    return Rows(table, np.array(times) if times else None, talks)


def _lines(path: str | Path) -> Iterator[tuple[str, dict[str, str]]]:
    """The place and the cells of each row."""
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restval="")
            header = reader.fieldnames or []
            odd = [name for name in header if name not in _COLUMNS]
            if "expert" not in header or odd:
                raise SpecError(
                    f"{path}: expected a column 'expert', found {list(header)}",
                    hint="columns: expert, and maybe arrival_s and conversation, with commas",
                )
            for row in reader:
                place = f"{path}, line {reader.line_num}"
                if None in row:
                    raise SpecError(f"{place}: more cells than the header has columns")
                yield place, row
    except OSError as error:
        raise SpecError(f"cannot read the trace {path}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise SpecError(f"{path} is not a CSV text file: {error}") from error


def _expert(cell: str, names: dict[str, int], place: str) -> int:
    text = cell.strip()
    if text in names:
        return names[text]
    if not (text.isascii() and text.isdigit()):
        raise SpecError(f"{place}: {text!r} is neither an expert's number nor a known name")
    number = int(text) if len(text) < 19 else 10**18
    if names and number >= len(names):
        raise SpecError(f"{place}: expert {text} of {len(names)}, which are numbered from 0")
    return number


def _seconds(cell: str, before: float, place: str) -> float:
    try:
        seconds = float(cell)
    except ValueError:
        raise SpecError(f"{place}: arrival_s must be a number, found {cell!r}") from None
    if not before <= seconds < math.inf:
        raise SpecError(
            f"{place}: arrival_s must be finite, ascending and at least 0, "
            f"found {cell.strip()} after {before:g}"
        )
    return seconds
