"""Random kernels: statements, layouts, dtypes and choices, and arguments to run them on.

A source of randomness is a ``random.Random``: a seeded one in the nightly run, hypothesis' own in
a property test, which then finds a smallest failing kernel.
"""

import re
from dataclasses import dataclass, field
from random import Random

import numpy as np
import user_functions
from expressions.draw import structured
from levels import store

import sparsedsl as sd

MATRICES = (
    *("csr", "csr", "csc", "coo", "coo_unsorted", "coo_repeated", "dcsr", "dcsc", "csf", "dense"),
    *("bcsr", "bcsc", "dia", "ell", "sell", "sell_sigma", "hyb", "jad", "vbl", "rle", "hicoo"),
    *("morton", "bitmap", "hash", "csb", "banded", "skyline", "triangular", "symmetric", "ragged"),
    *("nm", "pattern", "mode_generic", "packed"),
)
OTHER_RANKS = ("csf", "csf", "coo", "coo_unsorted", "bitmap", "dense", "hicoo", "morton")
BLOCKS = {
    "bcsr": (2, 3),
    "bcsc": (3, 2),
    "sell": (2,),
    "sell_sigma": (2, 4),
    "csb": (3,),
    "nm": (2, 4),
    "hicoo": (2,),
    "banded": (2, 1),
    "hyb": (2,),
    "hash": (4,),
}
DTYPES = (
    *("float64",) * 8,
    *("float32", "int64", "int32", "int16", "int8", "uint8", "uint32", "uint64", "bool"),
    *("complex128", "complex64"),
)
FILLS = {
    "f": (1, -1, 2, -0.0, float("inf"), float("-inf"), float("nan")),
    "i": (1, -1, 2),
    "u": (1, 2),
    "b": (True,),
    "c": (1, 1j, -1),
}
OUTPUTS = (
    *(None,) * 6,
    *("dense", "csf", "csr", "csc", "coo", "dcsr", "dcsc", "ell", "dia", "bcsr", "sell", "hyb"),
    *("jad", "vbl", "rle", "hicoo", "morton", "bitmap", "hash", "csb", "mode_generic"),
)
FINDS = ("merge", "gallop", "binary", "hash", "bitmap", "linear", "table", "count", "spread")

COMPARISONS = ("({} != {})", "({} == {})", "({} < {})", "({} >= {})", "({} > {})", "({} <= {})")
ARITHMETIC = ("({} + {})", "({} + {})", "({} - {})", "({} * {})", "({} * {})", "({} * {})")
EXTREMES = ("sd.minimum({}, {})", "sd.maximum({}, {})")
DIVISIONS = ("({} / {})", "({} // {})", "({} % {})")
FUNCTIONS = (
    *("(-{})", "sd.square({})", "sd.abs({})", "sd.relu({})", "sd.sign({})", "(+{})"),
    *("sd.floor({})", "sd.ceil({})", "sd.rint({})", "sd.trunc({})"),
    *("sd.isnan({})", "sd.isinf({})", "sd.isfinite({})", "sd.clip({}, -1, 2)", "sd.nan_to_num({})"),
)
COMPLEX_FUNCTIONS = ("(-{})", "sd.square({})", "sd.conj({})", "sd.real({})", "sd.imag({})")
USER_FUNCTIONS = (
    *("user.shrink({})", "user.shifted({})", "user.gate({}, {})", "user.furthest({}, {})"),
)
CURVES = (
    *("sd.exp({})", "sd.tanh({})", "sd.sigmoid({})", "sd.sqrt({})", "sd.expm1({})", "sd.cos({})"),
    *("sd.log({})", "sd.log1p({})", "sd.arctan({})", "sd.silu({})", "sd.sin({})", "sd.tan({})"),
    *("sd.log2({})", "sd.log10({})", "sd.sinh({})", "sd.cosh({})"),
)
# NumPy's roots of scalars and of arrays differ at minus infinity: no power is 0.5
POWERS = ("({} ** 2.0)", "({} ** 3)", "({} ** 1.5)", "({} ** -1.0)", "(2.0 ** {})", "({} ** 0)")
PREDICATES = (
    *("(i < j)", "(j <= i)", "(i == j)", "(k != i)", "(i + j < 4)", "(j == 1)", "(2*i < j)"),
    *("(i == j + 1)", "((i + k) % 2 == 0)", "(j < i + 2)", "(k == j)", "(2*i == j)"),
)
PLACES = ("(1*i + 0.5)", "(i * j)", "((i + 2*j) % 3)", "(1.0 * k)", "(i // 2)")
BEYOND = ("{0}-1", "{0}+1", "{0}+{1}-1", "2*{0}-1", "1-{0}", "-1")
STARTS = ("1", "-1", "float('inf')", "float('-inf')", "float('nan')", "True")
RESULTS = ("float32", "float64", "complex128", "int64")
REDUCTIONS = ("sum", "sum", "sum", "sum", "prod", "any", "all", "min", "max")


@dataclass(frozen=True, slots=True)
class Operand:
    """A tensor of a kernel: a mode is text in indices, such as ``i``, ``i+j``, ``2*i+1``, ``3``."""

    modes: tuple[str, ...]
    layout: str
    dtype: str
    fill: float = 0

    def target(self):
        layout = sd.layouts[self.layout]
        return layout(*BLOCKS[self.layout]) if self.layout in BLOCKS else layout


@dataclass(frozen=True, slots=True)
class Part:
    """A subexpression, the indices that are free in it, and the operands that it reads."""

    text: str
    free: frozenset[str]
    read: frozenset[str]


@dataclass(slots=True)
class Program:
    """A kernel's text and how to bind its parameters.

    ``exact`` where sums of any order agree; else results may differ by a factor of ``1 + rtol``.
    Where it is ``square`` all indices have one extent, so that any of them may subscript any mode.
    ``names`` are the letters of its indices.
    ``twins`` are operands that store the same places.
    """

    operands: dict[str, Operand] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    choices: dict[str, object] = field(default_factory=dict)
    exact: bool = True
    square: bool = False
    twins: tuple[str, ...] = ()
    names: str = "ijk"

    @property
    def text(self):
        return "\n    ".join([f"def body({', '.join(self.operands)}):", *self.lines]) + "\n"

    @property
    def rtol(self):
        rounded = {o.dtype for o in self.operands.values()} & {
            "float32",
            "bool",
            "int8",
            "uint8",
            "int16",
        }
        # functions of what any() and all() tell are of single precision
        single = rounded or "sd.any(" in self.text or "sd.all(" in self.text
        return 0.0 if self.exact else 1e-4 if single else 1e-9

    def kernel(self):
        names = {"sd": sd, "user": user_functions}
        exec(self.text, names)
        return sd.kernel(**self.choices)(names["body"])

    def __str__(self):
        operands = "".join(f"# {n}: {o}\n" for n, o in self.operands.items())
        return f"{operands}# {self.choices}\n{self.text}"


class Maker:
    """Draws one program."""

    def __init__(self, random: Random) -> None:
        self.random = random
        many = random.random() < 0.05  # then plans take seconds, if much is read
        self.names = "ijklmnop"[: random.choice((4, 4, 5, 5, 6, 8)) if many else 3]
        self.few = not many
        self.program = Program(names=self.names)
        self.operands = {
            name: self.operand()
            for name in "ABC"[: random.choice((1, 2) if many else (1, 2, 2, 3))]
        }
        self.program.square = random.random() < 0.3
        if random.random() < 0.2 and len(self.operands) > 1:
            first, second = self.program.twins = tuple(random.sample(sorted(self.operands), 2))
            self.operands[second] = self.operands[first]
        self.complex = any(o.dtype.startswith("complex") for o in self.operands.values())
        self.intermediates: list[Part] = []
        self.left: list[str] = []

    def make(self) -> Program:
        read = frozenset()
        self.program.lines.append(f'{", ".join(self.names)} = sd.indices("{" ".join(self.names)}")')
        if self.random.random() < 0.2:
            part = self.statement("T")
            read |= part.read
            places = ", ".join(self.left) or "()"
            self.intermediates.append(Part(f"T[{places}]", frozenset(self.left), frozenset("T")))
            if self.program.square and len(self.left) == 2:
                turned = f"T[{', '.join(reversed(self.left))}]"
                self.intermediates.append(Part(turned, frozenset(self.left), frozenset("T")))
        read |= self.statement("R").read
        if self.random.random() < 0.1:
            read |= self.accumulation("R")
        results, kept = "R", self.left
        if self.random.random() < 0.2:
            read |= self.statement("Q").read
            results = "R, Q"
        self.program.lines.append(f"return {results}")
        self.program.operands = {n: o for n, o in self.operands.items() if n in read}
        self.choose(same=len(kept) == len(self.left))
        return self.program

    def operand(self):
        pick = self.random
        ranks = (1, 2, 2, 2, 2, 2, 3, 0) if self.few else range(1, len(self.names) + 1)
        rank = pick.choice(ranks)
        layout = pick.choice(MATRICES if rank == 2 else OTHER_RANKS) if rank else "dense"
        dtype = pick.choice(DTYPES)
        fill = 0
        if layout != "dense" and pick.random() < 0.15:
            fill = pick.choice(FILLS[np.dtype(dtype).kind])
        modes = pick.sample(self.names, rank)
        if rank and pick.random() < 0.15:
            i, j = pick.sample(self.names, 2)
            forms = (i, f"{i}+{j}", f"2*{i}", f"{i}+1", f"2*{i}+1", "2", f"4-{i}", f"{i}+2*{j}")
            modes[pick.randrange(rank)] = pick.choice(forms)
        return Operand(tuple(modes), layout, dtype, fill)

    def combined(self, form, *parts):
        text = form.format(*(p.text for p in parts))
        read = frozenset().union(*(p.read for p in parts))
        return Part(text, frozenset().union(*(p.free for p in parts)), read)

    def access(self, form="{}"):
        if form == "{}" and self.intermediates and self.random.random() < 0.4:
            return self.random.choice(self.intermediates)
        name = self.random.choice(sorted(self.operands))
        modes = self.operands[name].modes
        if self.program.square and set(modes) <= set(self.names) and self.random.random() < 0.5:
            modes = self.random.choices(self.names, k=len(modes))
        elif form == "{}" and self.few and self.random.random() < 0.06:
            form = "sd.padded({})"
            modes = [
                self.random.choice(BEYOND).format(*self.random.sample("ijk", 2)) for _ in modes
            ]
        text = f"{form.format(name)}[{', '.join(modes) or '()'}]"
        return Part(text, frozenset(self.names) & frozenset("".join(modes)), frozenset(name))

    def literal(self):
        return Part(self.random.choice(("0", "1", "2", "-1", "3", "0.5")), frozenset(), frozenset())

    def number(self, depth):
        """An expression whose value is exact: of small integers and halves."""
        pick = self.random
        if depth <= 0 or pick.random() < 0.2:
            return self.access() if pick.random() < 0.9 else self.literal()
        draw = pick.random()
        if draw < 0.55:
            form = pick.choice(ARITHMETIC)
            return self.combined(form, self.number(depth - 1), self.number(depth - 1))
        if draw < 0.65 and not self.complex:
            form = pick.choice(EXTREMES)
            return self.combined(form, self.number(depth - 1), self.number(depth - 1))
        if draw < 0.72:
            forms = USER_FUNCTIONS if pick.random() < 0.15 else FUNCTIONS
            form = pick.choice(COMPLEX_FUNCTIONS if self.complex else forms)
            return self.combined(form, *(self.number(depth - 1) for _ in range(form.count("{}"))))
        if draw < 0.82:
            parts = self.truth(depth - 1), self.number(depth - 1), self.number(depth - 1)
            return self.combined("sd.where({}, {}, {})", *parts)
        if draw < 0.86:
            return self.combined("(1 * {})", self.truth(depth - 1))
        if draw < 0.88:
            text = pick.choice(PLACES)
            return Part(text, frozenset("ijk") & frozenset(text), frozenset())
        if draw < 0.96 or self.complex:
            return self.reduced(self.number(depth - 1))
        self.program.exact = False
        if pick.random() < 0.3:
            return self.combined(pick.choice(POWERS), self.access())
        return self.combined(pick.choice(DIVISIONS), self.access(), self.number(depth - 2))

    def truth(self, depth):
        pick = self.random
        draw = pick.random()
        if draw < 0.25:
            return self.access("sd.pattern({})")
        if draw < 0.45:
            text = pick.choice(PREDICATES)
            return Part(text, frozenset("ijk") & frozenset(text), frozenset())
        if draw < 0.6 and depth > 0:
            form = pick.choice(("({} & {})", "({} | {})", "(~{})", "({} ^ {})"))
            return self.combined(form, *(self.truth(depth - 1) for _ in range(form.count("{}"))))
        form = pick.choice(COMPARISONS[:2] if self.complex else COMPARISONS)
        return self.combined(form, self.number(depth - 1), self.number(depth - 1))

    def reduced(self, part, over=None):
        """A reduction of a part over some of the indices that are free in it."""
        pick = self.random
        here = sorted(part.free)
        if over is None and here:
            over = pick.sample(here, pick.randint(1, min(2, len(here))))
        if not over:
            return part
        name = pick.choice(REDUCTIONS[: -2 if self.complex else None])
        self.program.exact &= name != "prod"
        text = f"sd.{name}({part.text}, over=({', '.join(over)},))"
        return Part(text, part.free - frozenset(over), part.read)

    def right_side(self):
        part = self.number(self.random.choice((1, 2, 2, 3) if self.few else (1, 1, 2)))
        if self.random.random() < 0.1:
            self.program.exact = False
            part = self.combined(self.random.choice(CURVES[: 2 if self.complex else None]), part)
        return part

    def statement(self, target):
        pick = self.random
        part = self.right_side()
        while not part.read:
            part = self.right_side()
        free = sorted(part.free)
        self.left = [i for i in pick.sample(free, len(free)) if pick.random() < 0.6]
        self.left = self.left[: max(2, len(self.names) - 2)]
        part = self.reduced(part, [i for i in free if i not in self.left])
        layout = f'"{pick.choice(("csf", "dense"))}"' if pick.random() < 0.3 and self.left else ""
        fill = f"fill_value={pick.choice(STARTS)}" if pick.random() < 0.1 else ""
        dtype = f'dtype="{pick.choice(RESULTS)}"' if pick.random() < 0.04 else ""
        self.program.lines += [
            f"{target} = sd.output({', '.join(filter(None, (layout, dtype, fill)))})",
            f"{target}[{', '.join(self.left) or '()'}] = {part.text}",
        ]
        return part

    def accumulation(self, target):
        part = self.right_side()
        if not part.free.issuperset(self.left):
            return frozenset()
        part = self.reduced(part, sorted(part.free - frozenset(self.left)))
        self.program.lines.append(f"{target}[{', '.join(self.left) or '()'}] += {part.text}")
        return part.read

    def choose(self, *, same: bool):
        """Draw choices; one of a layout is for all results, if they have the ``same`` rank."""
        pick, choices = self.random, self.program.choices
        rank = len(self.left)
        out = pick.choice(OUTPUTS)
        if (
            out is not None
            and same
            and (rank == 2 or (rank == 1 and out in ("dense", "csf", "coo")))
        ):
            choices["out"] = out
        if pick.random() < 0.06:
            used = [
                i for i in self.names if re.search(rf"\b{i}\b", "".join(self.program.lines[1:]))
            ]
            choices["order"] = " ".join(pick.sample(used, len(used)))
        if pick.random() < 0.08:
            choices["workspace"] = pick.choice(("dense", "hash", "sort"))
        if pick.random() < 0.08:
            choices["find"] = pick.choice(FINDS)


def program(random: Random) -> Program:
    """Return a random program."""
    return Maker(random).make()


def extent_of(mode, extents):
    """The extent of a mode that these extents of the indices just fit."""
    if mode in extents:
        return extents[mode]
    if mode.startswith("4-"):
        return 5
    return int(eval(mode, {}, {name: max(n - 1, 0) for name, n in extents.items()})) + 1


def draw_arguments(program: Program, random: Random, *, finite: bool = True, most: int = 0):
    """Return ``(tensors, truth)`` for a program; extents of 0 and 1 are common.

    They are ``most`` at most, a few if that is 0, and fewer where there are many indices.
    """
    most = most or random.choice((1, 3, 5, 5))
    if len(program.names) > 3:
        most = min(most, int(4096 ** (1 / len(program.names))))
    extents = {i: random.randint(0, most) for i in program.names}
    if program.square:
        extents = dict.fromkeys(program.names, extents["i"])
    rng = np.random.default_rng(random.getrandbits(32))
    tensors, truth, masks = {}, {}, {}
    for name, operand in program.operands.items():
        shape = tuple(extent_of(m, extents) for m in operand.modes)
        twin = masks.get(program.twins[0]) if name in program.twins else None
        dense, mask = values(operand, shape, rng, finite, twin)
        masks[name] = mask
        tensors[name] = store(dense, mask, operand.target(), operand.fill)
        truth[name] = dense
    return tensors, truth


def values(operand, shape, rng, finite, mask=None):
    """Return a plain array and where it is stored, as the operand's layout can hold them.

    ``mask`` says where, if that is known.
    """
    dtype = np.dtype(operand.dtype)
    dense = rng.integers(0 if dtype.kind in "bu" else -3, 4, shape)
    if dtype.kind == "c":
        dense = dense + 1j * rng.integers(-3, 4, shape)
    dense = np.asarray(dense).astype(dtype)
    if not finite and dtype.kind in "iu":
        limits = np.iinfo(dtype)
        odd = rng.choice(np.array([limits.min, limits.max, limits.max // 2 + 1], dtype), shape)
        dense = np.where(rng.random(shape) < 0.3, odd, dense).astype(dtype)
    if not finite and dtype.kind == "f":
        odd = rng.choice([np.inf, -np.inf, np.nan], shape)
        dense = np.where(rng.random(shape) < 0.15, odd, dense).astype(dtype)
    if operand.layout in ("symmetric", "packed"):
        n = min(shape)
        dense[:n, :n] = np.tril(dense[:n, :n]) + np.tril(dense[:n, :n], -1).T
    if operand.layout == "pattern":
        dense = np.ones(shape, dtype)
    if mask is None and len(shape) == 2:
        mask = structured(operand.target(), shape, rng)
    elif mask is None:
        mask = rng.random(shape) < 0.4
    if operand.layout == "dense":
        mask = np.ones(shape, bool)
    return np.where(mask, dense, np.asarray(operand.fill, dtype)).astype(dtype), mask
