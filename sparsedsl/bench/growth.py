"""Seconds of the first call by the order of tensors and by the number of operands.

Takes: nothing.  Gives: ``Growth`` records.  ``python -m sparsedsl.bench.growth`` evaluates every
statement once and prints them as JSON: each is planned, proved and compiled, since nothing is on
disk; libraries are loaded by a call before.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

EXTENT, FILLED = 4, 0.3
"""Extent of every mode, and the part of the elements that is not zero."""

Statement = tuple[str, dict[str, Any]]
"""A statement as text, and its operands."""

Make = Callable[[int, np.random.Generator], Statement]


@dataclass(frozen=True, slots=True)
class Growth:
    """Seconds of statements of one kind, by the number of modes or of operands."""

    kind: str
    seconds: dict[int, float]


def growths() -> tuple[Growth, ...]:
    """Measure in a new process whose cache is empty; its error in place of a kind if it fails."""
    with tempfile.TemporaryDirectory() as place:
        environment = {**os.environ, "SPARSEDSL_CACHE_DIR": place, "SPARSEDSL_NO_CACHE": "0"}
        command = [sys.executable, "-m", "sparsedsl.bench.growth"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        return (Growth(f"failed: {done.stderr.strip().splitlines()[-1]}", {}),)
    return tuple(
        Growth(kind, {int(count): spent for count, spent in seconds.items()})
        for kind, seconds in json.loads(done.stdout).items()
    )


def _drawn(rng: np.random.Generator, order: int, layout: str) -> Any:
    from sparsedsl.api import convert
    from sparsedsl.layouts.catalogue import layouts

    shape = (EXTENT,) * order
    return convert(rng.random(shape) * (rng.random(shape) < FILLED), layouts[layout])


def _of_order(sign: str, layout: str, tensors: int = 2) -> Make:
    def made(order: int, rng: np.random.Generator) -> Statement:
        at = ",".join(f"i{k}" for k in range(order))
        operands = {f"A{n}": _drawn(rng, order, layout) for n in range(tensors)}
        return f"C[{at}] = " + f" {sign} ".join(f"{name}[{at}]" for name in operands), operands

    return made


def _of_modes(layout: str) -> Make:
    def made(order: int, rng: np.random.Generator) -> Statement:
        at, to = (",".join(f"{name}{k}" for k in range(order)) for name in "ir")
        matrices = {f"U{k}": rng.random((EXTENT, 2)) for k in range(order)}
        factors = " * ".join(f"U{k}[i{k},r{k}]" for k in range(order))
        return f"C[{to}] = A[{at}] * {factors}", {"A": _drawn(rng, order, layout), **matrices}

    return made


def _of_matrices(sign: str, chain: bool = False) -> Make:
    def made(count: int, rng: np.random.Generator) -> Statement:
        at = [f"i{k},i{k + 1}" if chain else "i,j" for k in range(count)]
        terms = f" {sign} ".join(f"A{k}[{at[k]}]" for k in range(count))
        operands = {f"A{k}": _drawn(rng, 2, "csr") for k in range(count)}
        return f"C[{f'i0,i{count}' if chain else 'i,j'}] = {terms}", operands

    return made


KINDS: dict[str, tuple[Iterable[int], Make]] = {
    "product of two tensors, CSF, by order": (range(2, 8), _of_order("*", "csf")),
    "sum of two tensors, CSF, by order": (range(2, 8), _of_order("+", "csf")),
    "sum of two tensors, COO, by order": (range(2, 8), _of_order("+", "coo")),
    "product of two tensors, Morton curve, by order": (range(2, 8), _of_order("*", "morton")),
    "product of six tensors, CSF, by order": (range(2, 8), _of_order("*", "csf", 6)),
    "sum of six tensors, CSF, by order": (range(2, 8), _of_order("+", "csf", 6)),
    "tensor by a matrix in each mode, CSF, by order": (range(2, 6), _of_modes("csf")),
    "elementwise product, CSR, by operands": (range(2, 7), _of_matrices("*")),
    "sum, CSR, by operands": (range(2, 7), _of_matrices("+")),
    "matrix product, CSR, by operands": (range(2, 7), _of_matrices("*", chain=True)),
}


def main() -> None:
    """Evaluate every statement once and print the seconds by kind and count."""
    from sparsedsl.api import evaluate

    evaluate("y[i] = A[i,j] * x[j]", A=np.eye(3), x=np.ones(3))
    rng = np.random.default_rng(1)
    found: dict[str, dict[int, float]] = {}
    for kind, (counts, make) in KINDS.items():
        seconds = found[kind] = {}
        for count in counts:
            text, operands = make(count, rng)
            gc.collect()
            start = time.perf_counter()
            evaluate(text, **operands)
            seconds[count] = time.perf_counter() - start
    print(json.dumps(found))


if __name__ == "__main__":
    main()
