"""The demonstration from start to end, printed for people or returned for machines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from sparsedsl.console import print_figures, print_source, steps
from sparsedsl.demo.cases import Case, cases
from sparsedsl.demo.experts import Experts, run_experts
from sparsedsl.demo.matrices import RealMatrix, collect
from sparsedsl.demo.measure import Measured, measure
from sparsedsl.lowered import Lowered

STORY = "A * B"
"""The kernel whose whole story is told, on the first matrix."""


def demonstrate(*, quick: bool, json: bool) -> tuple[bool, dict[str, Any]]:
    """Run everything; print unless ``json``.  Returns whether all agreed, and the record."""
    matrices, missing = collect(quick)
    if not json:
        _show_matrices(matrices, missing)
    told: tuple[Case, Measured] | None = None
    measured: list[Measured] = []
    for matrix, case in steps(_every_case(matrices), 6 * len(matrices), "kernels"):
        measured.append(measure(case, matrix.name, quick))
        if told is None and case.name == STORY:
            told = case, measured[-1]
    lowered = None if told is None else told[0].kernel.lower(*told[0].arguments)
    if not json:
        _show_times(measured)
        if told is not None and lowered is not None:
            _show_story(told[1], lowered)
    experts = run_experts(quick)
    if not json:
        _show_experts(experts)
        _show_verdict(measured, experts)
    agree = all(m.agrees for m in measured) and experts.agrees
    return agree, {
        "agree": agree,
        "matrices": [{"name": m.name, "source": m.source, "is": m.description} for m in matrices],
        "missing": missing,
        "kernels": [{**asdict(m), "agrees": m.agrees} for m in measured],
        "story": {} if lowered is None else _story(lowered),
        "experts": {**asdict(experts), "agrees": experts.agrees},
    }


def _every_case(matrices: list[RealMatrix]) -> Iterator[tuple[RealMatrix, Case]]:
    for matrix in matrices:
        for case in cases(matrix.matrix):
            yield matrix, case


def _story(lowered: Lowered) -> dict[str, Any]:
    proofs = [
        {"goal": p.name, "proved": p.proved, "seconds": p.seconds, "allows": p.allows}
        for p in lowered.proofs
    ]
    explanation, source = lowered.explain(), lowered.source
    return {"kernel": STORY, "explanation": explanation, "source": source, "proofs": proofs}


def _show_matrices(matrices: list[RealMatrix], missing: list[str]) -> None:
    rows = [(m.name, m.description, m.source) for m in matrices]
    print_figures([("name", "stored as", "from"), *rows], title="Real matrices", left=3)
    for line in missing:
        print(line)
    print("MTTKRP uses the order-3 tensor of pairs in each row of a matrix, ", end="")
    print("T[i,j,k] = A[i,j] * A[i,k].\n")


def _show_times(measured: list[Measured]) -> None:
    lines = [("kernel", "matrix", "error", "first call", "warm", "scipy", "ratio")]
    lines += [
        (
            m.kernel,
            m.matrix,
            f"{m.error:.0e}{'' if m.agrees else ' WRONG'}",
            f"{m.first_seconds:.2f} s",
            duration(m.seconds),
            duration(m.peer_seconds) + ("" if m.peer == "scipy" else "*"),
            f"{m.peer_seconds / m.seconds:.2f}",
        )
        for m in measured
    ]
    print_figures(lines, title="Kernels beside scipy", left=2)
    print("error: relative to the largest value")
    print("first call: plan, prove, compile, or load from the cache")
    print("warm and scipy: medians; ratio: scipy / warm; * NumPy, as scipy has none\n")


def _show_story(measured: Measured, lowered: Lowered) -> None:
    print(f"The story of one kernel: {measured.kernel} on {measured.matrix}\n")
    print("What is computed, how, and why that is right\n")
    print(lowered.explain())
    print("\nThe generated kernel\n")
    print_source(lowered.source)
    times = f"time {duration(measured.seconds)}, {measured.peer} {duration(measured.peer_seconds)}"
    print(f"\n{times}\n")


def _show_experts(experts: Experts) -> None:
    print("A layer of experts, one kernel on two machines")
    print(f"{experts.sizes}\n\n{experts.program}\n")
    print(
        f"compiled: {duration(experts.seconds)}, "
        f"max error {experts.error:.0e} against NumPy in float64"
    )
    tiers = list(experts.mapped[0].bytes)
    lines = [("fusion", "kernels", *(f"{t} bytes" for t in tiers), "flops/B", "time")]
    lines += [
        (
            row.fusion,
            str(row.kernels),
            *(f"{row.bytes[t]:,}" for t in tiers),
            f"{row.operational_intensity:.1f}",
            duration(row.seconds),
        )
        for row in experts.mapped
    ]
    print_figures(lines, title="On the emulated SN40L socket, bfloat16")
    same = "equal, bit for bit" if experts.fused_equals_unfused else "DIFFERENT"
    print(f"fused and unfused results: {same}; max error {experts.emulated_error:.0e}\n")


def _show_verdict(measured: list[Measured], experts: Experts) -> None:
    wrong = [f"{m.kernel} on {m.matrix}" for m in measured if not m.agrees]
    wrong += [] if experts.agrees else ["the layer of experts"]
    if wrong:
        print(f"disagreement in {', '.join(wrong)}")
    else:
        print(f"{len(measured)} kernels agree with scipy or NumPy; the layer of experts agrees.")


def duration(seconds: float) -> str:
    """A time with three digits and a unit.

    >>> duration(0.00123)
    '1.23 ms'
    """
    for unit, scale in (("s", 1.0), ("ms", 1e3)):
        if seconds * scale >= 1:
            return f"{seconds * scale:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"
