"""Kernels as statements, and the operands an input gives each.

Takes: an input's name and whether the run is quick.  Gives: ``Case``: a statement with its
operands, as scipy and NumPy hold them (``Fibers`` for tensors of order 3).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp

import sparsedsl as sd
from sparsedsl.api import statement_engine
from sparsedsl.bench.inputs import Fibers, load, moved, other_values, shuffled
from sparsedsl.bench.jobs import Operands
from sparsedsl.bench.operands import (
    COLUMNS,
    NARROW,
    lower,
    mttkrp,
    product,
    skewed,
    skewed_sampled,
    sought,
    sparse_along,
    sparse_factor,
    sparse_mttkrp,
    vector,
)
from sparsedsl.calls.choices import Choices
from sparsedsl.kernel import Kernel as Program
from sparsedsl.lowered import Lowered


@dataclass(frozen=True, slots=True)
class Kernel:
    """A statement, the inputs it runs on, and how one input gives its operands.

    ``streams`` marks kernels whose time is that of reading their operands once, ``coiterates``
    those in which entries of sparse operands meet: targets are set on these.  ``program`` has
    several statements, which are told as one text.  ``turns`` says on how many matrices of one size
    and of different patterns a kernel runs, one after another.
    """

    name: str
    statement: str
    inputs: tuple[str, ...]
    operands: Callable[[Any, np.random.Generator], Operands]
    streams: bool = False
    program: Program | None = None
    turns: int = 1
    coiterates: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """A kernel on the operands of one input, and the same operands as this library takes them.

    ``others`` are run after it, in turn.
    """

    kernel: Kernel
    input: str
    operands: Operands
    arguments: Operands
    others: tuple[Case, ...] = ()

    def __call__(self) -> Any:
        """Evaluate the statement, as a user does; a tuple where there are others."""
        if self.kernel.program is not None:
            return self.kernel.program(*self.arguments.values())
        found = sd.evaluate(self.kernel.statement, **self.arguments)
        return (found, *[other() for other in self.others]) if self.others else found

    def lower(self) -> Lowered:
        """Plan the statement for these arguments, to explain it."""
        if self.kernel.program is not None:
            return self.kernel.program.lower(*self.arguments.values())
        names, given = tuple(self.arguments), tuple(self.arguments.values())
        return statement_engine(self.kernel.statement, names, Choices()).lower(given)

    @property
    def bytes(self) -> int:
        """Bytes of all operands."""
        own = sum(_bytes(x) for x in self.operands.values())
        return own + sum(other.bytes for other in self.others)


def _bytes(x: Any) -> int:
    if isinstance(x, np.ndarray):
        return x.nbytes
    if isinstance(x, Fibers):
        return sum(a.nbytes for a in (x.roots, x.root_of, x.middles, x.starts, x.last, x.values))
    names = ("data", "indices", "indptr", "offsets")
    coords = getattr(x, "coords", ())
    return sum(getattr(x, n).nbytes for n in names if hasattr(x, n)) + sum(c.nbytes for c in coords)


def as_argument(x: Any) -> Any:
    """Return what users would pass: scipy and NumPy as they are, a tensor bound to its arrays."""
    if not isinstance(x, Fibers):
        return x
    arrays = {
        "crd0": x.roots,
        "pos1": x.root_of,
        "crd1": x.middles,
        "pos2": x.starts,
        "crd2": x.last,
        "data": x.values,
    }
    return sd.from_arrays("csf", x.shape, arrays)


def plain(result: Any) -> Any:
    """Return a result to compare: NumPy, or scipy CSR; modes before the last are joined.

    Several dense results are put one behind the other, matrices below one another.
    """
    if isinstance(result, tuple):
        if any(map(sp.issparse, result)):
            return sp.csr_array(sp.vstack([plain(one) for one in result]))
        return np.concatenate([np.ravel(x) for x in result])
    if isinstance(result, sd.Tensor):
        if result.ndim <= 2:
            return sp.csr_array(result.to_scipy())
        coo = result.convert("coo")
        *lead, last = (coo.arrays[f"crd{k}"] for k in range(result.ndim))
        rows = np.ravel_multi_index([c.astype(np.int64) for c in lead], result.shape[:-1])
        shape = (int(np.prod(result.shape[:-1])), result.shape[-1])
        return sp.csr_array((coo.arrays["data"], (rows, last)), shape=shape)
    if sp.issparse(result):
        return sp.csr_array(result) if result.ndim == 2 else result.toarray()
    array = np.asarray(result)
    return array.reshape(-1, array.shape[-1]) if array.ndim > 2 else array


@sd.kernel
def _both_products(A: Any, x: Any, w: Any) -> Any:
    i, j = sd.indices("i j")
    y, z = sd.output(), sd.output()
    y[i] = A[i, j] * x[j]
    z[j] = A[i, j] * w[i]
    return y, z


@sd.kernel
def _sums_and_maxima(A: Any) -> Any:
    i, j = sd.indices("i j")
    s, m = sd.output(), sd.output()
    s[i] = A[i, j]
    m[i] = sd.max(A[i, j], over=j)
    return s, m


_MATVEC = "y[i] = A[i,j] * x[j]"
_TTV = "M[i,j] = X[i,j,k] * v[k]"
_MTTKRP = "M[i,r] = X[i,j,k] * B[j,r] * C[k,r]"
_SQUARE = ("a", "b", "c", "d", "e")
_MATRICES = (*_SQUARE, "A_real")
_PRODUCTS = ("a", "b'", "c", "d'", "e", "A_real", "N_real")
_GRAPHS = (*_SQUARE, "N_real")
_TENSORS = ("t1", "t2")

KERNELS: dict[str, Kernel] = {
    k.name: k
    for k in (
        Kernel("SpMV CSR", _MATVEC, _MATRICES, vector(lambda m: m), streams=True),
        Kernel("SpMV CSC", _MATVEC, _MATRICES, vector(lambda m: m.tocsc()), True),
        Kernel("SpMV BCSR", _MATVEC, ("d",), vector(lambda m: m.tobsr((3, 3))), True),
        Kernel("SpMV DIA", _MATVEC, ("c",), vector(lambda m: m.todia()), True),
        Kernel(
            "SpMSpV CSR 1 %",
            _MATVEC,
            _MATRICES,
            sought(lambda m: m, 0.01),
            coiterates=True,
        ),
        Kernel(
            "SpMSpV CSR 10 %",
            _MATVEC,
            _MATRICES,
            sought(lambda m: m, 0.1),
            coiterates=True,
        ),
        Kernel(
            "SpMSpV CSC 1 %",
            _MATVEC,
            _MATRICES,
            sought(lambda m: m.tocsc(), 0.01),
            coiterates=True,
        ),
        Kernel(
            "SpMSpV CSC 10 %",
            _MATVEC,
            _MATRICES,
            sought(lambda m: m.tocsc(), 0.1),
            coiterates=True,
        ),
        Kernel(
            "SpMM 64",
            "C[i,j] = A[i,k] * B[k,j]",
            ("a", "b", "c", "d", "A_real"),
            lambda m, rng: {"A": m, "B": rng.random((m.shape[1], COLUMNS))},
        ),
        Kernel(
            "SDDMM 64",
            "C[i,j] = S[i,j] * P[i,k] * Q[j,k]",
            ("a", "b", "c", "d", "A_real"),
            lambda m, rng: {
                "S": m,
                "P": rng.random((m.shape[0], COLUMNS)),
                "Q": rng.random((m.shape[1], COLUMNS)),
            },
        ),
        Kernel(
            "A + B",
            "C[i,j] = A[i,j] + B[i,j]",
            _MATRICES,
            lambda m, _: {"A": m, "B": moved(m)},
            coiterates=True,
        ),
        Kernel(
            "A + B, one pattern",
            "C[i,j] = A[i,j] + B[i,j]",
            _MATRICES,
            lambda m, _: {"A": m, "B": other_values(m)},
            coiterates=True,
        ),
        Kernel(
            "A + B + C",
            "D[i,j] = A[i,j] + B[i,j] + C[i,j]",
            _MATRICES,
            lambda m, _: {"A": m, "B": moved(m), "C": moved(moved(m))},
            coiterates=True,
        ),
        Kernel(
            "A .* B",
            "C[i,j] = A[i,j] * B[i,j]",
            _MATRICES,
            lambda m, _: {"A": m, "B": moved(m)},
            coiterates=True,
        ),
        Kernel(
            "A .* B, one pattern",
            "C[i,j] = A[i,j] * B[i,j]",
            _MATRICES,
            lambda m, _: {"A": m, "B": other_values(m)},
            coiterates=True,
        ),
        Kernel(
            "A + B, 16 in turn",
            "C[i,j] = A[i,j] + B[i,j]",
            ("A_real",),
            lambda m, _: {"A": m, "B": moved(m)},
            turns=16,
            coiterates=True,
        ),
        Kernel(
            "A .* B, 16 in turn",
            "C[i,j] = A[i,j] * B[i,j]",
            ("A_real",),
            lambda m, _: {"A": m, "B": moved(m)},
            turns=16,
            coiterates=True,
        ),
        Kernel(
            "A .* B, 200 against 2", "C[i,j] = A[i,j] * B[i,j]", ("200:2",), skewed, coiterates=True
        ),
        Kernel(
            "SpGEMM",
            "C[i,j] = A[i,k] * B[k,j]",
            _PRODUCTS,
            product,
            coiterates=True,
        ),
        Kernel(
            "masked SpGEMM",
            "C[i,j] = M[i,j] * A[i,k] * B[k,j]",
            _GRAPHS,
            lambda m, _: {"M": m, "A": m, "B": other_values(m)},
            coiterates=True,
        ),
        Kernel(
            "triangles",
            "s[()] = L[i,j] * L[i,k] * L[k,j]",
            _GRAPHS,
            lambda m, _: {"L": lower(m)},
            coiterates=True,
        ),
        Kernel(
            "sampled inner products",
            "C[i,j] = M[i,j] * A[i,k] * B[j,k]",
            _GRAPHS,
            lambda m, _: {"M": m, "A": m, "B": other_values(m)},
            coiterates=True,
        ),
        Kernel(
            "sampled inner products, 200 against 2",
            "C[i,j] = M[i,j] * A[i,k] * B[j,k]",
            ("200:2",),
            skewed_sampled,
            coiterates=True,
        ),
        Kernel(
            "TTV",
            _TTV,
            _TENSORS,
            lambda x, rng: {"X": x, "v": rng.random(x.shape[2])},
            streams=True,
        ),
        Kernel("TTV sparse 1 %", _TTV, _TENSORS, sparse_along(0.01), coiterates=True),
        Kernel("TTV sparse 10 %", _TTV, _TENSORS, sparse_along(0.1), coiterates=True),
        Kernel(
            "TTM dense 16",
            "M[i,j,r] = X[i,j,k] * B[k,r]",
            _TENSORS,
            lambda x, rng: {"X": x, "B": rng.random((x.shape[2], NARROW))},
        ),
        Kernel(
            "TTM sparse 16",
            "M[i,j,r] = X[i,j,k] * B[k,r]",
            _TENSORS,
            lambda x, rng: {"X": x, "B": sparse_factor(x, rng)},
            coiterates=True,
        ),
        Kernel("MTTKRP 32", _MTTKRP, _TENSORS, mttkrp),
        Kernel("MTTKRP sparse 32", _MTTKRP, _TENSORS, sparse_mttkrp, coiterates=True),
        Kernel(
            "inner product, order 3",
            "s[()] = X[i,j,k] * Y[i,j,k]",
            _TENSORS,
            lambda x, _: {"X": x, "Y": other_values(x)},
            coiterates=True,
        ),
        Kernel(
            "A x and A' w",
            "y[i] = A[i,j] * x[j]; z[j] = A[i,j] * w[i]",
            _MATRICES,
            lambda m, rng: {"A": m, "x": rng.random(m.shape[1]), "w": rng.random(m.shape[0])},
            program=_both_products,
        ),
        Kernel(
            "sums and maxima of rows",
            "s[i] = sum(A[i,j], over=j); m[i] = max(A[i,j], over=j)",
            _MATRICES,
            lambda m, _: {"A": m},
            program=_sums_and_maxima,
        ),
    )
}
"""Kernels by name."""


def case(kernel: str, name: str, quick: bool = False) -> Case:
    """Make a kernel's operands from an input.

    Raises
    ------
    KeyError
        For an unknown kernel or input.
    """
    chosen, given = KERNELS[kernel], load(name, quick)
    rng = np.random.default_rng(7)
    first, *others = (
        _on(chosen, name, given if not turn else shuffled(given, turn), rng)
        for turn in range(chosen.turns)
    )
    return replace(first, others=tuple(others))


def _on(kernel: Kernel, name: str, given: Any, rng: np.random.Generator) -> Case:
    operands = kernel.operands(given, rng)
    return Case(kernel, name, operands, {n: as_argument(x) for n, x in operands.items()})
