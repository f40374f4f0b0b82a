"""Place the finds of a chain: set up where their range is known, asked where a key is.

Takes: the steps and the chosen algorithms.  Gives: statements.  Invariant: a find is set up
before anything inside can query it, and once for each range.
"""

from __future__ import annotations

from sparsedsl.find import algorithms as al
from sparsedsl.find.choose import Choice
from sparsedsl.iteration.nodes import Find, Let, Probe, Step
from sparsedsl.loops import build as lb
from sparsedsl.loops.nodes import Assign, Expr, Stmt, Var
from sparsedsl.lowering.emitter import Emitter
from sparsedsl.spf import terms
from sparsedsl.spf.nodes import Term


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
                out += [*ends, *emission.setup]
        return out

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
    ) -> tuple[al.Site, list[Stmt]]:
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

        def keys(at: Expr) -> tuple[Expr, ...]:
            saved = emitter.aliases.get(find.variable)
            emitter.aliases[find.variable] = at
            found = tuple(emitter.term(outer(Term(((1, k.function),)))) for k in find.keys)
            if saved is None:
                del emitter.aliases[find.variable]
            else:
                emitter.aliases[find.variable] = saved
            return found

        if sought is None:
            sought = tuple(lb.i(0) for _ in find.keys)
        extent = None if choice.extent is None else emitter.term(choice.extent)
        return al.Site(position, low, high, keys, sought, extent, choice.verify, state), ends

    def query(self, variable: str) -> tuple[list[Stmt], Expr]:
        """Return the statements of one query and the condition that it hit."""
        find, probe = next((f, p) for f, p in self._all_finds() if f.variable == variable)
        choice = self.choices[variable]
        sought = tuple(self.emitter.term(k.value) for k in find.keys)
        site, ends = self._site(find, choice, probe, sought)
        emission = self._algorithm(choice).emit(site)
        if variable in self.ready:
            return list(emission.query), emission.hit
        self.top.extend(emission.top)
        return [*ends, *emission.setup, *emission.query], emission.hit
