"""tensora, which merges coordinates as TACO does, in a process of its own.

It wants another llvmlite than Numba, so that it lives in an environment of its own, whose Python
the environment variable ``SPARSEDSL_BENCH_TENSORA`` names.  Its half of the conversation is
``bench/tensora_worker.py``; a call there is a message there and back.
"""

from __future__ import annotations

import atexit
import os
import pickle
import subprocess
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from sparsedsl.bench.inputs import Fibers
from sparsedsl.bench.jobs import Job, Known, Missing, Operands, Prepare, single

PYTHON = "SPARSEDSL_BENCH_TENSORA"
"""The environment variable that names the Python of tensora's environment."""

WORKER = Path(__file__).parents[3] / "bench" / "tensora_worker.py"

_ELEMENTWISE = {"A": "ds", "B": "ds", "C": "ds"}
_STATEMENTS: dict[str, tuple[str, dict[str, str]]] = {
    "SpMV CSR": ("y(i) = A(i,j) * x(j)", {"A": "ds", "x": "d", "y": "d"}),
    "SpMM 64": ("C(i,k) = A(i,j) * B(j,k)", {"A": "ds", "B": "dd", "C": "dd"}),
    "SDDMM 64": (
        "C(i,j) = S(i,j) * P(i,k) * Q(j,k)",
        {"S": "ds", "P": "dd", "Q": "dd", "C": "ds"},
    ),
    **dict.fromkeys(("A + B", "A + B, one pattern"), ("C(i,j) = A(i,j) + B(i,j)", _ELEMENTWISE)),
    **dict.fromkeys(
        ("A .* B", "A .* B, one pattern", "A .* B, 200 against 2"),
        ("C(i,j) = A(i,j) * B(i,j)", _ELEMENTWISE),
    ),
    "TTV": ("M(i,j) = X(i,j,k) * v(k)", {"X": "sss", "v": "d", "M": "ss"}),
    **dict.fromkeys(
        ("TTV sparse 1 %", "TTV sparse 10 %"),
        ("M(i,j) = X(i,j,k) * v(k)", {"X": "sss", "v": "s", "M": "ss"}),
    ),
    "MTTKRP sparse 32": (
        "M(i,r) = X(i,j,k) * B(j,r) * C(k,r)",
        {"X": "sss", "B": "ds", "C": "ds", "M": "dd"},
    ),
    "MTTKRP 32": (
        "M(i,r) = X(i,j,k) * B(j,r) * C(k,r)",
        {"X": "sss", "B": "dd", "C": "dd", "M": "dd"},
    ),
    "inner product, order 3": (
        "s() = X(i,j,k) * Y(i,j,k)",
        {"X": "sss", "Y": "sss", "s": ""},
    ),
}
"""Statements and formats.

It has no workspaces, which sparse products need.  Merging each row with one sparse vector takes it
minutes, and sums by columns into a dense vector take a thousand times as long as those by rows.
"""


def find() -> Known:
    """Start the other process, and return its kernels.

    Raises
    ------
    Missing
        Where the environment, or the project's sources, are not there, or tensora does not load.
    """
    python = os.environ.get(PYTHON)
    if not python:
        raise Missing(f"not found: install it in an environment of its own, {PYTHON}=its Python")
    if not WORKER.exists():
        raise Missing("bench/tensora_worker.py is in the project's sources only")
    try:
        worker = Worker(python)
        version = worker.ask("version")
    except (OSError, Failed) as error:
        raise Missing(f"{python} does not load it: {error}") from error
    return single(version, {name: _prepare(worker, *what) for name, what in _STATEMENTS.items()})


class Failed(Exception):  # noqa: N818
    """The other process says that something went wrong, or is gone."""


class Worker:
    """The other process: one question, one answer."""

    def __init__(self, python: str) -> None:
        self._process = subprocess.Popen(
            [python, str(WORKER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        atexit.register(self._process.kill)

    def ask(self, what: str, *details: Any) -> Any:
        """Ask, and return the answer.

        Raises
        ------
        Failed
            With what the other process says.
        """
        to, back = self._process.stdin, self._process.stdout
        assert to is not None
        assert back is not None
        try:
            pickle.dump((what, *details), to)
            to.flush()
            failed, answer = pickle.load(back)
        except (OSError, EOFError) as error:
            raise Failed("the process has ended") from error
        if failed:
            raise Failed(answer)
        return answer

    def forget(self, number: int) -> None:
        """Let the operands of a prepared call go."""
        if self._process.poll() is None:
            self.ask("forget", number)


def _prepare(worker: Worker, statement: str, formats: dict[str, str]) -> Prepare:
    target = statement.split("(")[0]

    def prepare(operands: Operands) -> Job:
        tensors = {n: (formats[n], *_parts(x)) for n, x in operands.items()}
        number = worker.ask("prepare", statement, formats, tensors)
        finish = _FINISHED[formats[target]]

        def call() -> None:
            worker.ask("call", number)

        weakref.finalize(call, worker.forget, number).atexit = False
        return Job(call, lambda _: finish(worker.ask("result", number)))

    return prepare


def _parts(x: Any) -> tuple[Any, ...]:
    """Return the shape of an operand, its coordinates (None where it is dense) and its values."""
    if isinstance(x, np.ndarray):
        return x.shape, None, x
    if isinstance(x, Fibers):
        spread = np.repeat(np.arange(x.middles.size), np.diff(x.starts))
        return x.shape, (x.first[spread], x.middles[spread], x.last), x.values
    entries = sp.coo_array(x)
    return entries.shape, entries.coords, entries.data


def _sparse(result: tuple[Any, ...]) -> Any:
    shape, indices, values = result
    if len(indices) == 1:
        return sp.csr_array((values, indices[0][1], indices[0][0]), shape)
    (_, rows), (starts, columns) = indices
    return sp.csr_array((values, (np.repeat(rows, np.diff(starts)), columns)), shape)


_FINISHED: dict[str, Callable[[Any], Any]] = {
    "": float,
    "d": np.asarray,
    "dd": np.asarray,
    "ds": _sparse,
    "ss": _sparse,
}
"""How a result of each format becomes NumPy or scipy."""
