"""Which passes a conversion takes, with the proofs that let it leave others out.

Takes: the order of a stream and a target.  Gives: a ``Plan``.  Invariant: after the passes,
entries come in the target's order, group by group; each claim of order is proved.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from sparsedsl.conversion.order import Columns, determines, implies
from sparsedsl.conversion.spans import span_of
from sparsedsl.conversion.stream import Stream
from sparsedsl.conversion.strips import height
from sparsedsl.conversion.target import Level, Target
from sparsedsl.spf import terms as t
from sparsedsl.spf.nodes import Term


@dataclass(frozen=True, slots=True)
class Plan:
    """How entries reach their places.

    Attributes
    ----------
    strategy:
        ``"place"``: places are terms over the coordinates.  ``"sequence"``: entries come in the
        target's order and are numbered as they come.  ``"count"``: counted by group, the
        running sums are where groups start.  ``"rank"``: keys are marked in a table of bits and
        numbered by the marks before them.  ``"strips"``: so, in a table for one group at a time.
        ``"runs"``: neighbours of a group share a number.
    sorts:
        Terms to sort by before that, in the order of the passes (stable, by counting).
    distinct:
        Whether every entry has a number of its own.
    whole:
        Whether all lengths are known beforehand, or bounded by the number of entries.
    proofs:
        What was proved about order, for the reader.
    arranged:
        Whether the entries of each group are sorted by the last term once they lie in it.
    """

    strategy: Literal["place", "sequence", "count", "rank", "strips", "runs"]
    sorts: Columns
    distinct: bool
    whole: bool
    proofs: tuple[str, ...]
    arranged: bool = False

    def group(self, target: Target) -> Columns:
        """The terms that tell the groups apart in which entries are counted."""
        return target.order[:-1] if self.arranged else grouped(target.levels[0])


DIGIT = 12
"""Bits by which one pass sorts at most: as many places as the cache follows at a time."""


def choose(
    stream: Stream,
    target: Target,
    *,
    rankable: bool,
    short: bool = False,
    wide: Mapping[Term, int] | None = None,
    bits: int = 0,
) -> Plan:
    """Plan the passes.

    ``rankable`` allows a table of one bit per group and key; ``short`` says that groups have few
    entries, so that each may be sorted by itself; ``wide`` gives the bits of terms that have too
    many values to count each, which are sorted digit by digit; ``bits`` are those of the longest
    interleaved number.
    """
    plan = _chosen(stream, target, rankable, short)
    sorts: list[Term] = []
    for term in plan.sorts:
        if target.parts(term):
            sorts += _digits(term, bits)
        elif any(term in keys for keys in target.codes.values()):
            continue  # what interleaved bits tell is sorted with them
        elif wide and term in wide:
            sorts += _digits(term, wide[term])
        else:
            sorts.append(term)
    return replace(plan, sorts=tuple(sorts))


def _digits(term: Term, bits: int) -> Columns:
    """A number of ``bits`` as digits of one width, the least significant first."""
    passes = -(-bits // DIGIT)
    base = 1 << -(-bits // max(passes, 1))
    return tuple(
        t.mod(t.floordiv(term, t.const(base**place)), t.const(base)) for place in range(passes)
    )


def _chosen(stream: Stream, target: Target, rankable: bool, short: bool) -> Plan:
    """The plan, interleaved numbers among its terms."""
    rank, wanted = target.layout.rank, target.told
    if not target.levels and target.edges:
        shown_ = ", ".join(edge.call.function for edge in target.edges)
        return Plan("place", (), True, False, (f"every place follows from {shown_}",))
    if not target.levels:
        return Plan("place", (), True, True, ("every place is a term over the coordinates",))
    if target.runs is not None and target.runs.along is not None:
        sorts, proof = _sorts(rank, grouped(target.runs), (target.runs.along,), stream.order)
        return Plan("runs", sorts, True, False, (proof,))
    distinct = stream.unique and determines(rank, wanted)
    found = _arranged(stream, target, distinct) if short else None
    found = found or _counting(stream, target, distinct, rankable)
    if found is None:
        sorts, proof = _sorts(rank, (), wanted, stream.order)
        known = stream.count is not None and target.appended
        return Plan("sequence", sorts, distinct, known, (proof,))
    return found


def _arranged(stream: Stream, target: Target, distinct: bool) -> Plan | None:
    """The plan that sorts each group where it lies: groups of one term, keys of another.

    None where entries come in order, or have other keys.
    """
    (*outer, level), rank, order = target.levels, target.layout.rank, target.order
    if len(order) != 2 or level.kind == "slots" or target.codes or target.marks:
        return None
    group, (key,) = order[:1], order[1:]
    if outer:
        known = level.kind == "pointer" and level.parent == outer[0].name
        known = known and [_listed(x) for x in target.levels] == [group, (key,)]
    else:
        known = _listed(level) == (order if level.kind == "list" else (key,))
    known = known and target.layout.value.arguments == (t.var(level.name),)
    if not known or span_of(rank, key)[0] != t.ZERO or implies(rank, stream.order, order):
        return None
    ordered = implies(rank, (*group, *stream.order), order)
    if ordered and not outer:
        return None
    after = "no sort" if ordered else f"then each group is sorted by {shown((key,))}"
    proof = f"entries are put down by {shown(group)}, {after}"
    return Plan("count", (), distinct, stream.count is not None, (proof,), arranged=True)


def _listed(level: Level) -> Columns | None:
    """The keys of a level, None where one is not stored once for each number."""
    place = (t.var(level.name),)
    alone = all(call.arguments == place for call, _ in level.keys)
    return tuple(term for _, term in level.keys) if alone else None


def _counting(stream: Stream, target: Target, distinct: bool, rankable: bool) -> Plan | None:
    """The plan for one level with groups, or with few keys; None when sequence serves."""
    level, *more = target.levels
    rank, wanted, group = target.layout.rank, target.told, level.columns[: level.grouped]
    if more:
        return None
    if level.kind != "slots" and implies(rank, stream.order, wanted):
        return None
    by_rank = not distinct and rankable and level.kind != "slots" and len(level.keys) == 1
    by_rank = by_rank and level.columns[level.grouped :] == (level.keys[0][1],)
    ordered = implies(rank, (*group, *stream.order), wanted)
    rows = height(stream, group) if level.kind == "pointer" else None
    if by_rank and not ordered and rows:
        proof = f"a group is {rows} rows: keys of one at a time are ranked: no sort"
        return Plan("strips", (), distinct, False, (proof,))
    if by_rank and not ordered:
        return Plan("rank", (), distinct, False, ("keys are ranked by a table: no sort",))
    if level.kind == "list":
        return None
    sorts, proof = _sorts(rank, group, wanted[level.grouped :], stream.order)
    known = level.kind == "pointer" and distinct and stream.count is not None
    return Plan("count", sorts, distinct, known, (proof,))


def _sorts(rank: int, group: Columns, wanted: Columns, order: Columns) -> tuple[Columns, str]:
    """The fewest stable passes after which entries, group by group, come as ``wanted``."""
    for count in range(len(wanted) + 1):
        if implies(rank, (*group, *wanted[:count], *order), (*group, *wanted)):
            break
    else:
        count = len(wanted)
    sorts = tuple(reversed(wanted[:count]))
    have, need = shown((*wanted[:count], *order)), shown(wanted)
    inside = f" within equal {shown(group)}" if group else ""
    passes = f"sorted by {shown(sorts)}" if sorts else "no sort"
    return sorts, f"entries in the order {have} are in the order {need}{inside}: {passes}"


def shown(columns: Columns) -> str:
    """Terms as a tuple."""
    return f"({', '.join(map(t.text, columns))})"


def grouped(level: Level) -> Columns:
    """The terms that tell a level's groups apart."""
    return level.columns[: level.grouped]
