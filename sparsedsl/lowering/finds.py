"""Place the finds of a chain: set up where their range is known, asked where a key is.

Takes: the steps and the chosen algorithms.  Gives: statements.  Invariant: a find is set up
before anything inside can query it, and once for each range.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sparsedsl.find import algorithms as al
from sparsedsl.find import site as si
from sparsedsl.find.choose import Choice, row_of
from sparsedsl.iteration.laid import index_of
from sparsedsl.iteration.nodes import Find, Let, Probe, Step
from sparsedsl.iteration.space import extent_name
from sparsedsl.loops import build as lb
from sparsedsl.loops.nodes import Assign, Expr, Stmt, Var
from sparsedsl.lowering import deliver as dl
from sparsedsl.lowering import workspace as ws
from sparsedsl.lowering.emitter import Emitter
from sparsedsl.spf import terms
from sparsedsl.spf.nodes import UF, Term


class Finds:
    """The finds of one chain.

    ``top`` collects what is emitted once a kernel; ``suffix`` tells the state of these finds
    from that of other chains.
    """

    def __init__(
        self,
        emitter: Emitter,
        steps: tuple[Step, ...],
        choices: tuple[Choice, ...],
        suffix: str,
        top: list[Stmt],
    ) -> None:
        self.emitter = emitter
        self.steps = steps
        self.choices = {c.variable: c for c in choices}
        self.suffix = suffix
        self.top = top
        self.ready: set[str] = set()
        self._ends: dict[int, list[Stmt]] = {}

    def setups(self, place: int) -> list[Stmt]:
        """Set up the finds whose range is known after ``place`` steps."""
        out: list[Stmt] = []
        for find, probe in self._all_finds():
            choice = self.choices[find.variable]
            if choice.depth == place and find.variable not in self.ready:
                site, ends = self._site(find, choice, probe, sought=None)
                emission = self._algorithm(choice).emit(site)
                self.ready.add(find.variable)
                self.top.extend(emission.top)
                self._ends.setdefault(place, []).extend(emission.after)
                out += [*ends, *emission.setup] if site.rows is None else []
        return out

    def endings(self, place: int) -> list[Stmt]:
        """End the ranges that were set up after ``place`` steps, unless there is but one."""
        return self._ends.pop(place, []) if place > 0 else []

    def _all_finds(self) -> list[tuple[Find, Probe | None]]:
        found: list[tuple[Find, Probe | None]] = []
        for step in self.steps:
            if isinstance(step, Find):
                found.append((step, None))
            elif isinstance(step, Probe):
                found.extend((s, step) for s in step.steps if isinstance(s, Find))
        return found

    def _algorithm(self, choice: Choice) -> al.Algorithm:
        found = al.algorithm(choice.algorithm)
        assert found is not None
        return found

    def _site(
        self, find: Find, choice: Choice, probe: Probe | None, sought: tuple[Expr, ...] | None
    ) -> tuple[si.Site, list[Stmt]]:
        """Bind the range of a find and describe it to its algorithm.

        ``sought`` is None at set-up, when no value is sought yet.
        """
        emitter = self.emitter
        inside = (
            {}
            if probe is None
            else {s.variable: s.value for s in probe.steps if isinstance(s, Let)}
        )

        def outer(term: Term) -> Term:
            while choice.depth >= 0 and terms.variables(term) & inside.keys():
                term = terms.substitute(term, inside)
            return term

        position = emitter.bind(find.variable)
        state = f"{find.variable}{self.suffix}"
        low, high = Var(f"{state}_lo", "int"), Var(f"{state}_hi", "int")
        ends: list[Stmt] = [
            Assign(low, self.emitter.extreme(tuple(outer(t) for t in find.lows), lb.max_)),
            Assign(high, self.emitter.extreme(tuple(outer(t) for t in find.highs), lb.min_)),
        ]

        def stored(at: Expr, calls: Sequence[UF]) -> tuple[Expr, ...]:
            saved = emitter.aliases.get(find.variable)
            emitter.aliases[find.variable] = at
            found = tuple(emitter.term(outer(Term(((1, call),)))) for call in calls)
            if saved is None:
                del emitter.aliases[find.variable]
            else:
                emitter.aliases[find.variable] = saved
            return found

        def keys(at: Expr) -> tuple[Expr, ...]:
            return stored(at, [key.function for key in find.keys])

        stops = [key.stop for key in find.keys if key.stop is not None]

        def value(at: Expr) -> Expr:
            emitter.aliases[find.variable] = at
            place = operand.value
            found = emitter.load(place.function, place.arguments, operand.tensor.dtype)
            del emitter.aliases[find.variable]
            return found

        operand = emitter.operands[find.operand]
        fill = dl.constant(operand.tensor.fill, operand.tensor.dtype)
        if sought is None:
            sought = tuple(lb.i(0) for _ in find.keys)
        extent = None if choice.extent is None else emitter.term(choice.extent)
        site = si.Site(
            position,
            low,
            high,
            keys,
            sought,
            extent,
            choice.verify,
            state,
            self._positions(find, choice),
            si.Stored(operand.tensor.dtype, fill, value),
            (lambda at: stored(at, stops)[0]) if stops else None,
            si.CURVED in choice.facts,
            si.FORWARD in choice.facts,
            self._rows(find) if si.WHOLE in choice.facts else None,
        )
        return site, ends

    def _rows(self, find: Find) -> si.Rows:
        """Return the rows of an operand: those of the index that says which is asked, or all."""
        found = row_of(find)
        assert found is not None
        pointer, row = found
        accesses = (operand.access for operand in self.emitter.operands.values())
        indices = {i for access in accesses for s in access.subscripts for i in s.indices}
        index = index_of(self.steps, row, indices)
        count: Expr = lb.sub(lb.length(pointer), 1)
        if index is not None:
            count = self.emitter.variable(extent_name(index))

        def ends(at: Expr) -> tuple[Expr, Expr]:
            return lb.load(pointer, at), lb.load(pointer, lb.add(at, 1))

        return si.Rows(self.emitter.term(row), count, ends)

    def _positions(self, find: Find, choice: Choice) -> str:
        """Return a dtype that holds every position of a range: that of the array that ends it.

        From position 0 on, no more keys lie apart than the dtype of their array counts.
        """
        arrays: list[str] = []
        if find.lows == (terms.const(0),) and {si.UNIQUE, si.EXTENT} <= choice.facts:
            arrays = [key.function.function for key in find.keys]
        for end in find.highs:
            match end:
                case Term(((1, UF(array, _)),), 0):
                    arrays.append(array)
                case _:
                    pass
        dtypes = [self.emitter.index_dtypes[array] for array in arrays]
        return next((d for d in dtypes if np.dtype(d).kind == "i"), "int64")

    def guide(self, variable: str) -> ws.Guide:
        """Return the range of a find that was set up outside, for a workspace."""
        find, probe = next((f, p) for f, p in self._all_finds() if f.variable == variable)
        site, _ = self._site(find, self.choices[variable], probe, sought=None)
        return ws.Guide(site.position, site.low, site.high, lambda at: site.keys(at)[0])

    def query(self, variable: str) -> si.Emission:
        """Return the loops of a find with what one query takes as its ``query``.

        ``value`` is None where it is at the position that was found.
        """
        find, probe = next((f, p) for f, p in self._all_finds() if f.variable == variable)
        choice = self.choices[variable]
        sought = tuple(self.emitter.term(k.value) for k in find.keys)
        site, ends = self._site(find, choice, probe, sought)
        emission = self._algorithm(choice).emit(site)
        if variable in self.ready:
            return emission
        self.top.extend(emission.top)
        return replace(emission, query=(*ends, *emission.setup, *emission.query))
