"""Lower a proved nest to a kernel of the loop IR.

Takes: ``find.choose.Proved``.  Gives: ``loops.nodes.Kernel`` and what a caller needs to bind
its arguments.  Invariant: a find is set up where its range is known and before anything
inside can query it; a value is loaded once, where its position is known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sparsedsl.contraction import algebra
from sparsedsl.contraction import nodes as ct
from sparsedsl.contraction.operators import MONOIDS
from sparsedsl.find import algorithms as al
from sparsedsl.find.choose import Choice, Proved
from sparsedsl.iteration.nodes import (
    Chain,
    Exclude,
    Find,
    Guard,
    Let,
    Merge,
    Operand,
    Probe,
    Scan,
    Step,
)
from sparsedsl.iteration.space import extent_name, subscript_term
from sparsedsl.loops import build as lb
from sparsedsl.loops.nodes import (
    BOOL,
    ArrayParam,
    Assign,
    Comment,
    Const,
    Expr,
    For,
    If,
    IntParam,
    Kernel,
    Stmt,
    Var,
    While,
)
from sparsedsl.lowering import counting
from sparsedsl.lowering import deliver as dl
from sparsedsl.lowering.emitter import Emitter
from sparsedsl.spf import terms
from sparsedsl.spf.nodes import Constraint, Term

Body = Callable[[], list[Stmt]]

DEEP = 2.0**18
"""Extent above which a workspace's bitmap gets a third level."""


@dataclass(frozen=True, slots=True)
class Lowered:
    """A kernel and the output it fills: ``results`` name what it returns, in order."""

    kernel: Kernel
    sink: dl.Sink


def lower(
    proved: Proved,
    program: ct.Program,
    index_dtypes: Mapping[str, str],
    output_index_dtype: str,
    widest: float,
    notes: tuple[str, ...],
) -> Lowered:
    """Return the kernel of a proved nest.

    ``widest`` is the expected extent of the output's widest mode.

    ``index_dtypes`` gives the dtype of each index array, ``output_index_dtype`` that of the
    output's.
    """
    nest = proved.nest
    operands = {o.name: o for chain in nest.chains for o in chain.operands}
    emitter = Emitter(program, operands, index_dtypes)
    dtype = nest.output.dtype
    extents: tuple[Expr, ...] = ()
    if nest.assembly.kind != "dense":
        extents = tuple(emitter.variable(extent_name(c)) for c in nest.coordinates)
    monoids = [c.monoid for c in nest.chains if c.monoid is not None]
    identity = MONOIDS[monoids[0]].identity(dtype) if monoids else nest.output.fill
    sink = dl.Sink(
        nest.output.name,
        dtype,
        output_index_dtype,
        nest.output.fill,
        extents,
        nest.assembly,
        identity,
        deep=widest > DEEP,
    )
    body = _Nest(proved, emitter, sink).body()
    params: list[ArrayParam | IntParam] = [*emitter.arrays.values()]
    results: tuple[str, ...] = ()
    if nest.assembly.kind == "dense":
        value = sink.array(nest.assembly.value)
        params.append(ArrayParam(value, dtype, len(nest.layout.value.arguments)))
    elif nest.assembly.kind == "stream":
        params.extend(dl.stream_params(sink))
        results = (sink.capacity.name, sink.var("n").name)
    else:
        params.extend(dl.append_params(sink))
        results = (sink.capacity.name, *dl.append_results(sink))
    params.extend(emitter.integers.values())
    kernel = Kernel("kernel", tuple(params), tuple(body), results, notes)
    return Lowered(kernel, sink)


class _Nest:
    """One walk over the steps of a nest."""

    def __init__(self, proved: Proved, emitter: Emitter, sink: dl.Sink) -> None:
        self.nest = proved.nest
        self.choices = proved.choices
        self.signs = proved.nonnegative
        self.emitter = emitter
        self.sink = sink
        self.top: list[Stmt] = []

    def body(self) -> list[Stmt]:
        """Return the whole body of the kernel."""
        kind = self.nest.assembly.kind
        start: list[Stmt] = []
        if kind == "stream":
            start = [Assign(self.sink.var("n"), lb.i(0))]
        elif kind != "dense":
            start = dl.append_start(self.sink)
        work = dl.workspace_start(self.sink) if kind == "workspace" else []
        needed = self._needed()
        walkers = [
            _Chain(self, chain, choices, signs, f"_{place}" if place else "")
            for place, (chain, choices, signs) in enumerate(
                zip(self.nest.chains, self.choices, self.signs, strict=True)
            )
        ]
        main = self._prefix(0, walkers)
        end: list[Stmt] = []
        levels = self.nest.assembly.levels
        if kind in ("append", "workspace") and levels[0].dense and not self._all_visited():
            end = dl.fill_gaps(self.sink, 0)
        body = [*work, *self.top, *main, *end]
        if kind == "dense":
            return body
        room = self.sink.capacity
        given = lb.length(self.sink.values)
        if not needed:
            return [*start, Assign(room, given), *body]
        enough = If(lb.le(room, given), tuple(body))
        return [*start, Assign(room, lb.i(0)), *needed, enough]

    def _needed(self) -> list[Stmt]:
        """Bound the number of entries by the visits of the loops that deliver them.

        The kernel returns the bound, and does nothing more when the arrays it was given are
        shorter, so that they are made once and by NumPy, whose large ones are cheap to touch.
        """
        if self.nest.assembly.kind == "dense":
            return []
        return counting.count_visits(self.nest, self.emitter, self.sink.capacity)

    def _all_visited(self) -> bool:
        """Whether every coordinate of a dense root level is closed once."""
        steps = self.nest.prefix + self.nest.chains[0].steps
        mode = self.nest.assembly.levels[0].coordinates[0][1]
        first = steps[0] if steps else None
        return (
            isinstance(first, Scan)
            and first.operand is None
            and first.variable == self.nest.coordinates[mode]
        )

    def _prefix(self, place: int, walkers: list[_Chain]) -> list[Stmt]:
        """Emit the shared steps from ``place`` on, then the chains and the flush."""
        out: list[Stmt] = []
        if place < len(self.nest.prefix):
            for walker in walkers:
                out += walker.setups(place)
            step = self.nest.prefix[place]
            out += walkers[0].step(step, lambda: self._prefix(place + 1, walkers))
            return self._closed(out, place)
        for walker in walkers:
            if len(walkers) > 1:
                out.append(Comment(f"{_what(walker.chain)}"))
            out += walker.walk(place)
        if self.nest.assembly.kind == "workspace":
            known = [self._coordinate(c) for c in self.nest.coordinates]
            out += dl.workspace_flush(self.sink, known)
        return self._closed(out, place)

    def _coordinate(self, name: str) -> Expr | None:
        bound = name in self.emitter.local or name in self.emitter.aliases
        return self.emitter.variable(name) if bound and name in self._shared() else None

    def _shared(self) -> frozenset[str]:
        names = [s.variable for s in self.nest.prefix if isinstance(s, Scan | Let | Find)]
        return frozenset(names)

    def _closed(self, body: list[Stmt], place: int) -> list[Stmt]:
        """Append the closing of each level whose coordinates became known just before."""
        if self.nest.assembly.kind not in ("append", "workspace"):
            return body
        steps = self.nest.prefix + self.nest.chains[0].steps
        return [*body, *self.closings(steps, place)]

    def closings(self, steps: tuple[Step, ...], place: int) -> list[Stmt]:
        """Return the closings of levels whose last coordinate step ``place - 1`` bound."""
        out: list[Stmt] = []
        levels = self.nest.assembly.levels
        for k in reversed(range(len(levels) - 1)):
            names = [self.nest.coordinates[m] for _, m in levels[k].coordinates]
            if _bound_at(steps, names) == place:
                known = [
                    self.emitter.variable(c) if c in names else lb.i(0)
                    for c in self.nest.coordinates
                ]
                out += dl.close_level(self.sink, k, known)
        return out


def _bound_at(steps: tuple[Step, ...], names: list[str]) -> int:
    """Return how many steps it takes until all of ``names`` are bound."""
    missing = set(names)
    for place, step in enumerate(steps):
        if isinstance(step, Scan | Let | Merge):
            missing.discard(step.variable)
        if not missing:
            return place + 1
    return len(steps) + 1


def _what(chain: Chain) -> str:
    return "where " + " and ".join(chain.required) + " are stored" if chain.required else "all"


class _Chain:
    """One walk over the steps of a chain, inside the prefix of its nest.

    ``suffix`` tells the state of its finds from that of other chains.
    """

    def __init__(
        self,
        nest: _Nest,
        chain: Chain,
        choices: tuple[Choice, ...],
        signs: frozenset[str],
        suffix: str,
    ) -> None:
        self.signs = signs
        self.suffix = suffix
        self.nest = nest
        self.chain = chain
        self.choices = {c.variable: c for c in choices}
        self.emitter = nest.emitter
        self.steps = nest.nest.prefix + chain.steps
        self.values: dict[ct.Access, Expr] = {}
        self.loaded: set[str] = set()
        self.ready: set[str] = set()
        wanted = [c.name for c in chain.coordinates if c.name is not None]
        self.delivered_at = _bound_at(self.steps, wanted) if wanted else 0
        loops = [p for p, s in enumerate(self.steps) if isinstance(s, Scan)]
        first = max(self.delivered_at, len(nest.nest.prefix))
        self.accumulates = chain.monoid is not None and any(p >= first for p in loops)
        self.accumulate_at = first

    def walk(self, place: int) -> list[Stmt]:
        """Emit the steps from ``place`` on, and the leaf."""
        self.emitter.nonnegative = self.signs
        out = self.setups(place)
        loads = self._loads(place)
        if self.accumulates and place == self.accumulate_at:
            total = self._accumulator()
            dtype = total.type
            identity = MONOIDS[self.chain.monoid or "add"].identity(dtype)
            inner = self._after(place)
            body = [*loads, Assign(total, dl.constant(identity, dtype)), *inner]
            body += self._deliver(total)
        else:
            body = [*loads, *self._after(place)]
        out += body
        appended = self.nest.nest.assembly.kind == "append"
        if appended and place > len(self.nest.nest.prefix):
            out += self.nest.closings(self.steps, place)
        return out

    def _after(self, place: int) -> list[Stmt]:
        if place == len(self.steps):
            return self._leaf()
        return self.step(self.steps[place], lambda: self.walk(place + 1))

    def _accumulator(self) -> Var:
        return Var(
            f"{self.nest.sink.name}_sum",
            algebra.dtype_of(
                ct.Reduce(self.chain.monoid or "add", (), self.chain.expression),
                self.emitter.program,
            ),
        )

    def _leaf(self) -> list[Stmt]:
        value = self.emitter.expression(self.chain.expression, self.values)
        if not self.accumulates:
            return self._deliver(value)
        total = self._accumulator()
        monoid = MONOIDS[self.chain.monoid or "add"]
        combined = lb.apply(monoid.operator, total, lb.cast(value, total.type), type=total.type)
        return [Assign(total, combined)]

    def _deliver(self, value: Expr) -> list[Stmt]:
        sink = self.nest.sink
        value = lb.cast(value, sink.dtype)
        coordinates = [self.emitter.term(subscript_term(c)) for c in self.chain.coordinates]
        match self.nest.nest.assembly.kind:
            case "dense":
                return [self._store(coordinates, value)]
            case "append":
                return dl.append_value(sink, coordinates, value)
            case "workspace":
                at = coordinates[sink.last.coordinates[-1][1]]
                return dl.workspace_add(sink, at, value, self.chain.monoid)
            case _:
                return dl.stream_value(sink, coordinates, value)

    def _store(self, coordinates: list[Expr], value: Expr) -> Stmt:
        layout = self.nest.nest.layout
        places = [layout.relation.outputs.index(terms.text(a)) for a in layout.value.arguments]
        array = self.nest.sink.array(layout.value.function)
        proved = all(
            self.emitter.is_nonnegative(subscript_term(self.chain.coordinates[p])) for p in places
        )
        return lb.store(
            array, [coordinates[p] for p in places], value, self.chain.monoid, proved=proved
        )

    def step(self, step: Step, body: Body) -> list[Stmt]:
        """Emit one step around ``body``."""
        emitter = self.emitter
        match step:
            case Scan(variable, lows, highs, _):
                low = self._extreme(lows, lb.max_)
                high = self._extreme(highs, lb.min_)
                loop = emitter.bind(variable)
                return [For(loop, low, high, tuple(body()))]
            case Let():
                return [*self._let(step), *body()]
            case Guard(constraint, _):
                return [If(self._condition(constraint), tuple(body()))]
            case Find(variable):
                query, hit = self._query(variable)
                return [*query, If(hit, tuple(body()))]
            case Probe():
                return [*self._probe(step), *body()]
            case Merge():
                return self._merge(step, body)
            case Exclude(names):
                hits = [_local(emitter.operands[n], "hit", BOOL) for n in names]
                return [If(lb.not_(lb.conj(*hits)), tuple(body()))]

    def _merge(self, merge: Merge, body: Body) -> list[Stmt]:
        """Advance one cursor an operand; where it is not at the coordinate, it has its fill."""
        emitter = self.emitter
        out: list[Stmt] = []
        ends: list[Var] = []
        for part in merge.parts:
            end = Var(f"{part.variable}_hi", "int")
            ends.append(end)
            out.append(Assign(emitter.bind(part.variable), self._extreme(part.lows, lb.max_)))
            out.append(Assign(end, self._extreme(part.highs, lb.min_)))
        cursors = [Var(p.variable, "int") for p in merge.parts]
        live = [lb.lt(c, e) for c, e in zip(cursors, ends, strict=True)]
        if len(merge.parts) > 2:
            anyone = lb.disj(*live)
            return [*out, While(anyone, tuple(self._merge_turn(merge, live, body)))]
        out.append(While(lb.conj(*live), tuple(self._merge_turn(merge, None, body))))
        for k in range(2):
            out.append(While(live[k], tuple(self._merge_rest(merge, k, body))))
        return out

    def _merge_turn(self, merge: Merge, live: list[Expr] | None, body: Body) -> list[Stmt]:
        """One step of a merge; ``live`` is None where every cursor is known to be inside."""
        emitter = self.emitter
        out: list[Stmt] = []
        beyond = emitter.variable(extent_name(merge.variable))
        places = [Var(f"{p.operand}_key", "int") for p in merge.parts]
        for k, part in enumerate(merge.parts):
            key = emitter.term(part.key)
            found = key if live is None else lb.select(live[k], key, beyond)
            out.append(Assign(places[k], found))
        least: Expr = places[0]
        for place in places[1:]:
            least = lb.min_(least, place)
        variable = emitter.bind(merge.variable)
        out.append(Assign(variable, least))
        for place, part in zip(places, merge.parts, strict=True):
            operand = emitter.operands[part.operand]
            hit = _local(operand, "hit", BOOL)
            out.append(Assign(hit, lb.eq(place, variable)))
            out += self._merge_value(operand, hit, inside=live is None)
        out += self._apart(body)
        for part in merge.parts:
            cursor = Var(part.variable, "int")
            hit = _local(emitter.operands[part.operand], "hit", BOOL)
            out.append(Assign(cursor, lb.add(cursor, lb.cast(hit, "int"))))
        return out

    def _merge_value(self, operand: Operand, hit: Expr, *, inside: bool) -> list[Stmt]:
        """Bind an operand's value at a merge: loaded where hit, else its fill."""
        used, stored = self._uses(operand)
        self.loaded.add(operand.name)
        if stored:
            self.values[_pattern(operand)] = hit
        if not used:
            return []
        dtype = operand.tensor.dtype
        load: Expr = self.emitter.load(operand.value.function, operand.value.arguments, dtype)
        value = _local(operand, "v", dtype)
        self.values[operand.access] = value
        fill = dl.constant(operand.tensor.fill, dtype)
        if not inside:
            return [Assign(value, lb.select(hit, load, fill))]
        entry = Var(f"{operand.name}_entry", dtype)
        return [Assign(entry, load), Assign(value, lb.select(hit, entry, fill))]

    def _merge_rest(self, merge: Merge, k: int, body: Body) -> list[Stmt]:
        """What is left of one operand when the other is at its end."""
        emitter = self.emitter
        part = merge.parts[k]
        out: list[Stmt] = [Assign(emitter.bind(merge.variable), emitter.term(part.key))]
        for other in merge.parts:
            operand = emitter.operands[other.operand]
            used, stored = self._uses(operand)
            if other is part:
                load = emitter.load(
                    operand.value.function, operand.value.arguments, operand.tensor.dtype
                )
                value = _local(operand, "v", operand.tensor.dtype)
                out += [Assign(value, load)] if used else []
                self.values[operand.access] = value
            else:
                fill = dl.constant(operand.tensor.fill, operand.tensor.dtype)
                self.values[operand.access] = fill
            if stored:
                self.values[_pattern(operand)] = lb.TRUE if other is part else lb.FALSE
        out += self._apart(body)
        cursor = Var(part.variable, "int")
        return [*out, Assign(cursor, lb.add(cursor, 1))]

    def _apart(self, body: Body) -> list[Stmt]:
        """Emit ``body`` in a place of its own: what it loads is not loaded elsewhere."""
        loaded, values = set(self.loaded), dict(self.values)
        found = body()
        self.loaded, self.values = loaded, values
        return found

    def _extreme(self, ends: tuple[Term, ...], combine: Callable[[Expr, Expr], Expr]) -> Expr:
        result = self.emitter.term(ends[0])
        for end in ends[1:]:
            result = combine(result, self.emitter.term(end))
        return result

    def _let(self, step: Let) -> list[Stmt]:
        value = self.emitter.term(step.value)
        if isinstance(value, Var | Const):
            self.emitter.aliases[step.variable] = value
            return []
        return [Assign(self.emitter.bind(step.variable), value)]

    def _condition(self, constraint: Constraint) -> Expr:
        term = constraint.term
        negative = Term(tuple((-c, a) for c, a in term.parts if c < 0), max(-term.constant, 0))
        positive = Term(tuple((c, a) for c, a in term.parts if c > 0), max(term.constant, 0))
        left, right = self.emitter.term(positive), self.emitter.term(negative)
        return lb.eq(left, right) if constraint.equality else lb.ge(left, right)

    def _probe(self, probe: Probe) -> list[Stmt]:
        """Look an operand up: its value and whether it was hit, its fill on a miss."""
        operand = self.emitter.operands[probe.operand]
        hit = _local(operand, "hit", BOOL)
        value = _local(operand, "v", operand.tensor.dtype)
        used, stored = self._uses(operand)
        found: list[Stmt] = [Assign(hit, lb.TRUE)]
        out: list[Stmt] = [Assign(hit, lb.FALSE)]

        def inner(place: int) -> list[Stmt]:
            if place == len(probe.steps):
                if used:
                    load = self.emitter.load(
                        operand.value.function, operand.value.arguments, operand.tensor.dtype
                    )
                    found.append(Assign(value, load))
                return found
            return self.step(probe.steps[place], lambda: inner(place + 1))

        if used:
            out.append(Assign(value, dl.constant(operand.tensor.fill, operand.tensor.dtype)))
            self.values[operand.access] = value
        if stored:
            self.values[_pattern(operand)] = hit
        self.loaded.add(operand.name)
        return [*out, *inner(0)]

    def _uses(self, operand: Operand) -> tuple[bool, bool]:
        """Return whether the operand's value, and whether its pattern, is read."""
        value = stored = False
        for node in algebra.walk(self.chain.expression):
            if isinstance(node, ct.Access) and node == operand.access:
                value = True
            elif isinstance(node, ct.Stored):
                same = (node.tensor, node.subscripts)
                stored |= same == (operand.access.tensor, operand.access.subscripts)
        return value, stored

    def _loads(self, place: int) -> list[Stmt]:
        """Load the values of operands whose position has just become known."""
        out: list[Stmt] = []
        bound = {s.variable for s in self.steps[:place] if isinstance(s, Scan | Let | Find | Merge)}
        for operand in self.chain.operands:
            names = frozenset[str]()
            for argument in operand.value.arguments:
                names |= terms.variables(argument)
            pending = any(
                isinstance(s, Guard) and s.operand == operand.name for s in self.steps[place:]
            )
            probed = any(isinstance(s, Probe) and s.operand == operand.name for s in self.steps)
            if operand.name in self.loaded or pending or probed or not names <= bound:
                continue
            self.loaded.add(operand.name)
            used, stored = self._uses(operand)
            if stored:
                self.values[_pattern(operand)] = lb.TRUE
            if used:
                value = _local(operand, "v", operand.tensor.dtype)
                load = self.emitter.load(
                    operand.value.function, operand.value.arguments, operand.tensor.dtype
                )
                self.values[operand.access] = value
                out.append(Assign(value, load))
        return out

    def setups(self, place: int) -> list[Stmt]:
        """Set up the finds whose range is known after ``place`` steps."""
        self.emitter.nonnegative = self.signs
        out: list[Stmt] = []
        for find, probe in self._all_finds():
            choice = self.choices[find.variable]
            if choice.depth == place and find.variable not in self.ready:
                site, ends = self._site(find, choice, probe, sought=None)
                emission = self._algorithm(choice).emit(site)
                self.ready.add(find.variable)
                self.nest.top.extend(emission.top)
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
            Assign(low, self._extreme(tuple(outer(t) for t in find.lows), lb.max_)),
            Assign(high, self._extreme(tuple(outer(t) for t in find.highs), lb.min_)),
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

    def _query(self, variable: str) -> tuple[list[Stmt], Expr]:
        find, probe = next((f, p) for f, p in self._all_finds() if f.variable == variable)
        choice = self.choices[variable]
        sought = tuple(self.emitter.term(k.value) for k in find.keys)
        site, ends = self._site(find, choice, probe, sought)
        emission = self._algorithm(choice).emit(site)
        if variable in self.ready:
            return list(emission.query), emission.hit
        self.nest.top.extend(emission.top)
        return [*ends, *emission.setup, *emission.query], emission.hit


def _pattern(operand: Operand) -> ct.Access:
    return ct.Access(f"?{operand.access.tensor}", operand.access.subscripts)


def _local(operand: Operand, suffix: str, type: str) -> Var:
    """Return a variable of an operand, named apart from its dimensions and arrays."""
    taken = {*operand.dims, *operand.existentials}
    taken |= {used for _, used in (*operand.functions, *operand.parameters)}
    name = f"{operand.name}_{suffix}"
    while name in taken:
        name += "_"
    return Var(name, type)
