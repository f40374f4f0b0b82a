"""Questions about whole loops: closed forms are unique, turns write apart (Q2, Q6).

Takes: a nest.  Gives: records of proofs, and the loop that several threads may share.

| output | turns of the outermost loop |
|---|---|
| dense | write distinct elements |
| sparse, entries in order | differ in the first level's coordinates: pieces follow each other |
| dense of order 0, a sum | are summed apart, in pieces that do not depend on the threads |

Where they write the same elements of a dense output, a loop inside over one of its coordinates may
be shared: each thread goes through all turns outside, and adds to elements of its own.  So may a
loop over sorted entries whose coordinate is one of the output's: each thread has some of the
coordinates, and of each range the part that has those.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from sparsedsl.find import facts as fa
from sparsedsl.find import formula as fo
from sparsedsl.find.context import Context, bound_names
from sparsedsl.find.queries import Prover
from sparsedsl.find.smt import Question
from sparsedsl.iteration.cost import LOOP, START, Sizes
from sparsedsl.iteration.nodes import Chain, Let, Merge, MergePart, Nest, Scan, Step
from sparsedsl.iteration.space import extent_name, subscript_term
from sparsedsl.iteration.steps import expand
from sparsedsl.iteration.weights import all_turns
from sparsedsl.spf import terms
from sparsedsl.spf.nodes import UF, FloorDiv, Mod, Term

REPEATED = 1e-3
"""Part of the time of a nest that the loops outside of a shared one may take: every piece goes
through them, and there are several for each thread."""


SPLIT = 0.12
"""The same part where ranges are split: each thread goes through them once.

Ranges of fewer than four entries take one thread less time, which computes the first ones whether
there are any or not (``loops.heads``): of parts it would read what another thread writes.
"""


@dataclass(frozen=True, slots=True)
class Shared:
    """A loop that threads may share: a caller gives pieces of its range.

    ``parameter`` of the kernel ends the range: an extent such as ``n_i``, or a number of
    positions such as ``A_NNZ``.  ``pointer`` is the array whose step from one element to the next
    is the work of a turn ("": not known).  ``apart``: turns write apart; else each piece
    needs an output of its own, and these are combined.  ``place`` is that of the loop among the
    steps of each chain: it is the outermost one unless pieces repeat the loops outside of it.
    ``split`` is the array of sorted coordinates, of which pieces have ranges, where each of the
    ranges that ``pointer`` bounds is split among the pieces ("": the loop is cut as it is).
    """

    parameter: str
    pointer: str
    apart: bool
    place: int = 0
    split: str = ""

    @property
    def name(self) -> str:
        """What the ends of a piece are called after: the index, or the parameter."""
        return self.parameter.removeprefix("n_")


def prove_closed_forms(prover: Prover, chain: Chain) -> bool:
    """Q2: each value computed by division is the only one the layout admits.

    Returns whether all were proved; the polyhedral library derived them, so that a failure
    is one of the solver's time.
    """
    proved = True
    for step in chain.steps:
        if not isinstance(step, Let) or step.operand is None:
            continue
        if not any(isinstance(a, FloorDiv | Mod) for a in terms.atoms(step.value)):
            continue
        operand = chain.operand(step.operand)
        hypotheses = tuple(fo.holds(c) for c in operand.constraints)
        goal = fo.equal(terms.var(step.variable), step.value)
        name = f"{step.variable} = {terms.text(step.value)}"
        proved &= prover.ask(Question(name, (), hypotheses, goal, "no search"))
    return proved


def parallel_loop(prover: Prover, nest: Nest) -> Shared | None:
    """Q6: return the outermost loop if its turns can run in any order, in pieces.

    It must run over a whole range, so that a caller can share it out among threads.
    """
    walks = [nest.prefix + chain.steps for chain in nest.chains]
    first = walks[0][0] if walks and walks[0] else None
    if not isinstance(first, Scan):
        return None
    parameter = _cut_parameter(first)
    same = all(steps and _parameter_of(steps[0]) == parameter for steps in walks)
    if parameter is None or not same:
        return None
    pointer = _pointer(first, walks[0][1:]) if first.highs == (terms.var(parameter),) else ""
    if nest.assembly.kind == "dense":
        apart = _elements_apart(prover, nest, walks)
        summed = not nest.coordinates and _sums(nest)
        return Shared(parameter, pointer, apart) if apart or summed else None
    return Shared(parameter, pointer, True) if _roots_apart(prover, nest, walks) else None


def inner_loop(nest: Nest, sizes: Sizes) -> Shared | None:
    """Q6: return a loop over a coordinate of a dense output, inside of loops that cost little.

    Its variable is the coordinate, so that pieces write apart; each element meets the same values
    in the same order as without pieces.
    """
    if nest.assembly.kind != "dense" or nest.prefix or len(nest.chains) != 1:
        return None
    (chain,) = nest.chains
    operands = {o.name: o for o in chain.operands}
    written = {subscript_term(c) for c in chain.coordinates}
    for place, step in enumerate(chain.steps):
        if not isinstance(step, Scan | Let):
            return None
        if not isinstance(step, Scan):
            continue
        whole = terms.const(0) in step.lows and terms.var(extent_name(step.variable)) in step.highs
        if whole and terms.var(step.variable) in written:
            repeated = all_turns(chain.steps[:place], operands, sizes) * (START + LOOP)
            loops = any(isinstance(s, Scan) for s in chain.steps[:place])
            cheap = loops and repeated <= REPEATED * nest.cost
            return Shared(extent_name(step.variable), "", True, place) if cheap else None
    return None


def split_loop(prover: Prover, nest: Nest, sizes: Sizes) -> Shared | None:
    """Q6: return a loop over sorted entries whose coordinate is one of a dense output's.

    Entries of different coordinates write apart, and the loops outside cost little beside it.
    """
    if nest.assembly.kind != "dense" or nest.prefix or len(nest.chains) != 1:
        return None
    (chain,) = nest.chains
    operands = {o.name: o for o in chain.operands}
    written = {subscript_term(c) for c in chain.coordinates}
    for place, step in enumerate(chain.steps):
        if not isinstance(step, Scan | Let):
            return None
        if not isinstance(step, Scan):
            continue
        pointer, key = _segment(step), _coordinate(chain.steps[place + 1 :], step, written)
        if pointer and key is not None and step.operand is not None:
            before = Context(chain.steps[:place], operands)
            part = MergePart(step.operand, step.variable, step.lows, step.highs, key.value)
            repeated = all_turns(chain.steps[:place], operands, sizes) * (START + LOOP)
            if repeated <= SPLIT * nest.cost and prover.merges(before, part):
                (call,) = terms.ufs(key.value)
                extent = extent_name(key.variable)
                return Shared(extent, pointer, True, place, call.function)
    return None


def _segment(scan: Scan) -> str:
    """Return the array whose neighbouring elements are the ends of a loop, "" if none is."""
    if len(scan.lows) != 1 or len(scan.highs) != 1:
        return ""
    match terms.ufs(scan.lows[0]), terms.ufs(scan.highs[0]):
        case [UF(name, (turn,)) as low], [UF() as high]:
            after = UF(name, (terms.add(turn, terms.const(1)),))
            single = len(turn.parts) == 1 and turn == terms.var(*terms.variables(turn))
            ends = Term(((1, low),)), Term(((1, high),))
            if single and high == after and ends == (scan.lows[0], scan.highs[0]):
                return name
        case _:
            pass
    return ""


def _coordinate(inner: tuple[Step, ...], scan: Scan, written: set[Term]) -> Let | None:
    """Return the step that loads a coordinate of the output from the position of a scan."""
    for step in inner:
        if not isinstance(step, Let):
            return None
        loaded = terms.ufs(step.value)
        if (
            terms.var(step.variable) in written
            and step.operand == scan.operand
            and len(loaded) == 1
            and step.value == terms.uf(loaded[0].function, terms.var(scan.variable))
        ):
            return step
    return None


def _sums(nest: Nest) -> bool:
    """Whether all chains accumulate by one monoid, from the initial value on."""
    monoids = {chain.monoid for chain in nest.chains}
    return len(monoids) == 1 and None not in monoids


def _elements_apart(prover: Prover, nest: Nest, walks: list[tuple[Step, ...]]) -> bool:
    """Whether different turns, of any two chains, write different elements of a dense output."""
    if not nest.coordinates:
        return False
    places = [[subscript_term(c) for c in chain.coordinates] for chain in nest.chains]
    return all(
        _apart(prover, nest, (walks[a], walks[b]), (places[a], places[b]))
        for a, b in product(range(len(walks)), repeat=2)
    )


def _roots_apart(prover: Prover, nest: Nest, walks: list[tuple[Step, ...]]) -> bool:
    """Whether entries of different turns differ in the coordinates of the output's first level.

    Entries come in order (proved when the plan was made), so that what a piece of the loop appends
    then follows what the piece before it appended.
    """
    assembly = nest.assembly
    steps, whole = walks[0], nest.prefix
    if assembly.kind not in ("append", "workspace") or (len(walks) > 1 and not whole):
        return False
    if assembly.kind == "workspace" and (not whole or len(assembly.levels) < 2):
        return False
    names = [nest.coordinates[mode] for _, mode in assembly.levels[0].coordinates]
    missing, last = set(names), 0
    for place, step in enumerate(steps if assembly.kind == "append" else whole):
        if isinstance(step, Scan | Let) and step.variable in missing:
            missing.discard(step.variable)
            last = place + 1
    if missing:
        return False
    known = steps[:last]
    roots = [terms.var(name) for name in names]
    return _apart(prover, nest, (known, known), (roots, roots))


def _apart(
    prover: Prover,
    nest: Nest,
    walks: tuple[tuple[Step, ...], tuple[Step, ...]],
    places: tuple[list[Term], list[Term]],
) -> bool:
    """Whether a turn of one walk and a later turn of another differ in one of their places."""
    first, second = (steps[0] for steps in walks)
    assert isinstance(first, Scan)
    assert isinstance(second, Scan)
    turn, other = terms.var(first.variable), terms.var(second.variable)
    if any(pair == (turn, other) for pair in zip(*places, strict=True)):
        return True
    operands = {o.name: o for chain in nest.chains for o in chain.operands}
    moved = bound_names(walks[1])
    here = fa.facts(walks[0], operands)
    there = tuple(fa.second(f, moved) for f in fa.facts(walks[1], operands))
    later = fo.less(turn, fa.second_term(other, moved))
    differ = fo.Any(
        tuple(fo.Compare("!=", p, fa.second_term(q, moved)) for p, q in zip(*places, strict=True))
    )
    question = Question(
        f"turns of {first.variable} write apart",
        fa.axioms(operands.values()),
        tuple(dict.fromkeys((*here, *there, later))),
        differ,
        "share the loop among threads",
    )
    return prover.ask(question)


def _parameter_of(step: Step) -> str | None:
    return _cut_parameter(step) if isinstance(step, Scan) else None


def _cut_parameter(scan: Scan) -> str | None:
    """Name the parameter whose range, cut in pieces, cuts the scan's: its end, or one in blocks.

    The end of the scan is the parameter, or the parameter divided by a block size and rounded up:
    it grows with the parameter, from 0 at 0.
    """
    if scan.lows != (terms.const(0),) or len(scan.highs) != 1:
        return None
    end = scan.highs[0]
    match end.parts:
        case ((1, FloorDiv(numerator, denominator)),) if end.constant == 0:
            size = denominator.constant if not denominator.parts else 0
            if not 0 <= numerator.constant < size:
                return None
            end = terms.subtract(numerator, terms.const(numerator.constant))
        case _:
            pass
    (name, *others) = terms.variables(end) or ("",)
    return name if not others and end == terms.var(name) else None


def _pointer(first: Scan, inner: tuple[Step, ...]) -> str:
    """Return the array that bounds the next loop by the turn of the first one, if one does."""
    for place, step in enumerate(inner):
        match step:
            case Scan(_, lows, highs, _):
                ends = lows, highs
            case Merge(_, parts):
                ends = parts[0].lows, parts[0].highs
            case _:
                continue
        turn = terms.var(first.variable)
        low, high = (expand(inner[:place], end[0]) for end in ends)
        for call in terms.ufs(low):
            after = terms.uf(call.function, terms.add(turn, terms.const(1)))
            if (low, high) == (terms.uf(call.function, turn), after):
                return call.function
        return ""
    return ""
