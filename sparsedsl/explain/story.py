"""The whole story of a kernel as text: what it reads, does, rests on and costs.

Takes: the units of a kernel, and what each took where it was run.  Gives: text.  Invariant:
nothing is said that the plan, its proofs and its generated code do not hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sparsedsl.contraction.text import statement_text
from sparsedsl.explain.alternatives import alternatives
from sparsedsl.explain.plans import iteration_space, plan_text
from sparsedsl.explain.storage import copied_bytes, size_text, workspaces
from sparsedsl.find.smt import Proof
from sparsedsl.iteration.nodes import Operand
from sparsedsl.layouts.levels import exact
from sparsedsl.loops.alike import takes_rows_together
from sparsedsl.loops.mirror import ONCE
from sparsedsl.loops.walk import statements
from sparsedsl.options import current
from sparsedsl.pipeline.groups import Group, Settings
from sparsedsl.pipeline.passes import shared
from sparsedsl.pipeline.stages import Unit
from sparsedsl.runtime.outputs import entry_bytes
from sparsedsl.runtime.recipe import Share
from sparsedsl.runtime.sharing import pays
from sparsedsl.runtime.splits import PATIENCE


def explanation(
    program: str,
    units: tuple[Unit, ...],
    settings: Settings,
    alike: tuple[tuple[str, str], ...] = (),
    same: str = "",
    measured: Sequence[float] = (),
    trials: Sequence[Sequence[str]] = (),
    apart: Sequence[str] = (),
) -> str:
    """Return the whole story of a kernel.

    ``alike`` pairs operands for which there is a version where they have one pattern;
    ``same`` tells of that version where these arguments have it.  ``measured`` are the seconds each
    unit took, where it was run on the arguments; ``trials`` say what it was chosen from, where that
    was measured; ``apart`` says of outputs that read the same why no pass computes both.
    """
    lines = ["expression", *_indented(program), *([same] if same else [])]
    for place, unit in enumerate(units):
        took = measured[place] if place < len(measured) else None
        head = "a call" if len(units) == 1 else " and ".join(unit.group.made)
        lines += ["", *_pass(unit, settings, head, took)]
        if place < len(trials) and trials[place]:
            lines += ["measured to choose the plan, on operands of this kind"]
            lines += [f"  {trial}" for trial in trials[place]]
    lines += [
        f"where {name} has the pattern of {other}, a call runs a version without searches"
        for name, other in alike
    ]
    lines += [f"not in one pass: {why}" for why in apart]
    return "\n".join(lines)


def _indented(text: str) -> list[str]:
    return [f"  {line}" for line in text.splitlines()]


def _pass(unit: Unit, settings: Settings, head: str, took: float | None) -> list[str]:
    """Tell of each output of a pass, and what they share."""
    if not unit.parts:
        return _unit(unit, settings, head, took)
    names = unit.group.made
    lines = [
        *_time(unit, head, took),
        f"one pass computes {' and '.join(names)}: what they read alike, "
        f"{', '.join(shared(unit.group.turn))}, comes from memory once",
    ]
    if unit.twins:
        lines.append(f"the loops of {' and '.join(unit.twins)} are the same and run once")
    for part in unit.parts:
        lines += ["", *_unit(part, settings, f"{part.nest.output.name} by itself", None)]
    return lines


def _unit(unit: Unit, settings: Settings, head: str, took: float | None) -> list[str]:
    spaces = [iteration_space(nest) for nest in (*unit.within, unit.nest)]
    lines = _mapped(unit.group, took) if unit.group.mapped else _time(unit, head, took)
    lines += _storage(unit)
    lines += ["iteration space", *_indented("\n".join(spaces))]
    lines += ["plan", *_indented(plan_text(unit))]
    for variable, algorithm, rejected in unit.choices:
        lines.append(f"find {variable}: {algorithm} ({rejected})")
    if takes_rows_together(unit.kernel):
        lines.append("rows whose indices equal those of the row before are taken together")
    if unit.nest.cut:
        lines.append(
            f"the search ended after {settings.search_limit} loops tried: the plan is the cheapest "
            "found till then (search_limit lets it try more, order= says which loops to take)"
        )
    lines += [f"alternative {line}" for line in alternatives(unit, settings)]
    if unit.recipe.shared is not None:
        lines.append(_threads(unit.recipe.shared))
    lines += [*_values(unit.group), *_bounds(unit), *_proofs(unit.proofs, settings)]
    return lines


def _mapped(group: Group, took: float | None) -> list[str]:
    """Say that values are mapped as they lie, and what the kernel is there for then."""
    measured = "" if took is None else f" (measured {1e3 * took:.3g} ms)"
    runs = "where an entry becomes the fill" if exact(group.layout) else "for .njit and compute()"
    names = " and ".join(group.mapped)
    told = "put together by their keys" if len(group.mapped) > 1 else "copied"
    return [
        f"the values of {names} are mapped as they lie, by NumPy{measured}",
        f"index arrays are {told}; the loops below are there {runs}",
    ]


def _threads(shared: Share) -> str:
    """Say which loop threads share, and what each does by itself."""
    if shared.split is not None:
        return (
            f"threads may share the coordinates {shared.extent.name}, each going through the loops "
            "outside and of each range through its own part, once the operands have been met "
            f"{PATIENCE + 1} times"
        )
    own = "" if shared.apart else ", each with a sum of its own"
    again = ", each going through the loops outside of it" if shared.repeats else ""
    number = "three or more threads" if shared.streams else "threads"
    return f"{number} may share the loop over {shared.extent.name}{own}{again}"


_CALL_NS = 1e4
"""Estimated nanoseconds below which most of a call is what any call costs."""

_TOLD = 0.05
"""Part of the estimate from which on it is told what it is for."""

_MEANS = {
    "the call": "the call itself",
    "loops": "turns of loops and arithmetic",
    "memory": "memory",
    "branches": "branches guessed wrongly",
    "searches": "searches",
    "delivery": "putting the result together",
    "copies": "copies made at each call",
}
"""What is said of each kind of what a call spends."""


def _time(unit: Unit, head: str, took: float | None) -> list[str]:
    """Say how long a call is expected to take and what for, and how long one took."""
    spent = unit.spent
    total = spent.nanoseconds
    parts = [(kind, n / total) for kind, n in spent.by_kind.items() if n >= _TOLD * total]
    what = ", ".join(f"{part:.0%} {_means(kind, unit)}" for kind, part in parts)
    lines = [f"time of {head}", f"  estimated {total / 1e6:.3g} ms on one thread: {what}"]
    if took is None:
        return lines
    told = f"  measured {1e3 * took:.3g} ms{_on_threads(unit)}"
    if total < _CALL_NS:
        return [*lines, f"{told} with what any call costs"]
    return [*lines, f"{told}: {took * 1e9 / total:.2g} times the estimate"]


def _means(kind: str, unit: Unit) -> str:
    """Say what a kind of time is, and name the searches."""
    if kind != "searches":
        return _MEANS[kind]
    names = [f"{name} by {algorithm}" for each in unit.turn for name, algorithm, _ in each.choices]
    return f"searches ({', '.join(names)})"


def _on_threads(unit: Unit) -> str:
    """Say that threads shared the loop, where they may have."""
    options = current()
    share, threshold = unit.recipe.shared, options.parallel_threshold
    shared = share is not None and options.thread_count > 1 and pays(unit.recipe, share, threshold)
    return f" on {options.thread_count} threads" if shared else ""


def _storage(unit: Unit) -> list[str]:
    """Say what is stored how: the output, the operands, copies and workspaces."""
    nest, group = unit.nest, unit.group
    lines = [f"output {nest.output.name}: {nest.output.dtype} in {group.layout.label}"]
    if len(group.statements) > 1 or group.program.statements != group.statements:
        lines += [f"  {statement_text(s)}" for s in group.statements]
    for before in group.before:
        lines.append(f"  a row at a time, not stored: {before.output.name}")
        lines += [f"    {statement_text(s)}" for s in before.statements]
    if group.fused:
        lines.append(f"  fused: {', '.join(group.fused)} computed here, not stored")
    if group.assembled != group.layout:
        half = "one half, which is the other's mirror image, is " if group.halved else ""
        lines.append(f"  {half}filled as {group.assembled.label}, then converted")
    lines.append("operands")
    nests = (*unit.within, nest)
    operands = [o for n in nests for chain in n.chains for o in chain.operands]
    seen = {o.tensor.name: o for o in operands}
    for name, operand in seen.items():
        source = unit.group.sources.get(name)
        layout = operand.layout if source is None else source.layout
        lines.append(f"  {name}: {operand.tensor.dtype} in {layout.label}")
        lines += [f"    {text}" for text in _lying(name, group)]
        if _is_halved(name, unit) or _is_joined(operand, unit):
            lines.append("    each stored entry is visited once, for both of its coordinates")
    for conversion in nest.conversions:
        size = size_text(copied_bytes(conversion, group))
        made = "at each call" if conversion.tensor.total else "once for the same values"
        lines.append(
            f"  {conversion.tensor.name}: copy of {conversion.source} in mode order "
            f"{conversion.order}, made {made} (about {size})"
        )
    if nest.assembly.kind == "stream":
        each = entry_bytes(unit.recipe)
        lines.append(f"sort of the entries of {nest.output.name}: {each} bytes for each delivered")
    for name, shape, size in workspaces(unit):
        most = "up to about " if nest.assembly.ordering == "hash" else ""
        known = "" if size is None else f" ({most}{size_text(size)})"
        lines.append(f"workspace {name}: {shape}{known}")
    return lines


def _is_halved(name: str, unit: Unit) -> bool:
    """Whether one half of a mirrored tensor is read instead of it all."""
    source = unit.group.sources.get(name)
    read = [request.layouts[name] for request, _, _ in unit.planned if name in request.layouts]
    return source is not None and any(layout != source.layout for layout in read)


def _is_joined(operand: Operand, unit: Unit) -> bool:
    """Whether one loop visits what two parts of a layout both store."""
    return operand.layout.halves > 1 and ONCE in statements(unit.kernel.body)


def _lying(name: str, group: Group) -> Iterator[str]:
    """Say what was found of how the entries of an operand lie: the plan was chosen for that."""
    source = group.sources.get(name)
    if source is None:
        return
    lengths = source.lengths
    for dim, found in source.uneven.items():
        each = max(lengths[dim], 1.0)
        longer = f", of {each * found.skew:g} where an entry is" if found.skew > 1.0 else ""
        yield f"ranges of {dim}: of about {each:g} entries{longer}"
        if found.crowd > 1.0:
            yield f"  a coordinate comes again {found.crowd:g} times as often as by chance"
        if found.near > 1.0:
            yield f"  coordinates are {found.near:g} times as near each other as by chance"
        if found.ragged:
            yield "  ranges are often longer or shorter than the one before"
        if found.alike:
            yield "  ranges often have the coordinates of the one before"
        if found.lower:
            yield "  coordinates are less than the number of their range"


_BOUNDS = (
    ("above", "no -inf or NaN"),
    ("below", "no inf or NaN"),
    ("positive", "positive values alone"),
)
"""What is said of the demands that bound values."""


def _values(group: Group) -> list[str]:
    """Say what is asked of stored values at each call, or why implicit zeros are visited."""
    lines: list[str] = []
    if not group.annihilating:
        lines.append(
            "implicit zeros are visited: a value that meets them may not be finite "
            '(semantics="annihilator" skips them)'
        )
    elif group.finite:
        lines.append(f"checked at each call to be finite: {', '.join(group.finite)}")
    for side, what in _BOUNDS:
        names = [name for demand, name in group.bounded if demand == side]
        if names:
            lines.append(f"checked at each call to store {what}: {', '.join(names)}")
    if group.nonzero:
        lines.append(f"checked at each call to store no zero: {', '.join(group.nonzero)}")
    return lines


def _bounds(unit: Unit) -> list[str]:
    """Say of each subscript, and of the widest index value, how it is known to fit."""
    checked = sum(c.verdict == "checked" for c in unit.certificates)
    proved = len(unit.certificates) - checked
    tested = "each subscript is tested at run time" if checked else "none is tested at run time"
    lines = [f"bounds ({proved} subscripts proved, {checked} not: {tested})"]
    for certificate in unit.certificates:
        lines.append(f"  {_HOW[certificate.verdict]}: {certificate}")
    bits = unit.widest.bit_length()
    lines.append(f"  proved: index values stay below 2**{bits}, in 64 bits")
    if unit.recipe.kind != "dense":
        lines.append(
            f"  checked: the entries of {unit.nest.output.name}, against the room for them and "
            f"what {unit.recipe.index_dtype} can count"
        )
    return lines


_HOW = {
    "ranges": "proved",
    "solver": "proved by the solver",
    "bound": "checked when bound",
    "checked": "checked at run time",
}


def _proofs(proofs: tuple[Proof, ...], settings: Settings) -> list[str]:
    seconds = sum(p.seconds for p in proofs)
    late = sum(p.verdict == "timed out" for p in proofs)
    lines = [f"proofs ({len(proofs)} in {1e3 * seconds:.0f} ms)"]
    if late:
        lines.append(
            f"  {late} timed out after {settings.solver_timeout_ms} ms: the plan does without "
            "what they would allow (solver_timeout_ms gives more time)"
        )
    for proof in proofs:
        match proof.verdict:
            case "proved":
                verdict = f"allows: {proof.allows}"
            case "timed out":
                verdict = f"timed out, not used: {proof.allows}"
            case _:
                verdict = "not proved, not used"
        lines.append(f"  [{1e3 * proof.seconds:5.1f} ms] {proof.name}: {verdict}")
    return lines
