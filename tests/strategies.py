"""Random expressions, layouts and arguments for property tests."""

import numpy as np
from hypothesis import strategies as st

# layouts any matrix fits in; the rest of the catalogue has tests of its own
LAYOUTS = ("csr", "csc", "coo", "coo_unsorted", "dcsr", "dcsc", "dia", "ell", "csf", "dense")

BINARY = ("+", "-", "*", "*")
FUNCTIONS = ("abs({})", "-{}", "relu({})", "minimum({}, 1)", "maximum({}, {})", "({} > {})")


@st.composite
def right_sides(draw):
    """A right side over up to three operands with indices i, j, k, and the operands' indices."""
    count = draw(st.integers(1, 3))
    operands = {}
    for name in "ABC"[:count]:
        rank = draw(st.sampled_from((1, 2, 2, 2)))
        operands[name] = "".join(draw(st.permutations("ijk"))[:rank])
    accesses = [f"{n}[{','.join(m)}]" for n, m in operands.items()]
    text = accesses[0]
    for access in accesses[1:]:
        text = f"({text} {draw(st.sampled_from(BINARY))} {access})"
    if draw(st.booleans()):
        function = draw(st.sampled_from(FUNCTIONS))
        extra = draw(st.sampled_from(accesses))
        text = function.format(*[text, extra][: function.count("{}")])
    return text, operands


@st.composite
def statements(draw):
    """A whole statement as text, and the operands' indices."""
    text, operands = draw(right_sides())
    used = sorted(set("".join(operands.values())))
    kept = [i for i in draw(st.permutations(used)) if draw(st.booleans())][:2]
    gone = [i for i in used if i not in kept]
    reduction = draw(st.sampled_from(("sum", "sum", "max", "min")))
    if gone:
        text = f"{reduction}(1 * ({text}), over=({', '.join(gone)},))"
    target = f"R[{','.join(kept)}]" if kept else "R[()]"
    return f"{target} = {text}", operands


@st.composite
def arguments(draw, operands):
    """``(dense, mask, layout)`` for each operand; extents of 0 and 1 are common."""
    extents = {i: draw(st.sampled_from((0, 1, 2, 3, 3, 4, 5))) for i in "ijk"}
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    found = {}
    for name, letters in operands.items():
        shape = tuple(extents[i] for i in letters)
        values = rng.integers(-3, 4, shape).astype(float)
        layout = draw(st.sampled_from(LAYOUTS)) if len(shape) == 2 else "csf"
        mask = rng.random(shape) < draw(st.sampled_from((0.1, 0.4, 0.8)))
        found[name] = (np.where(mask, values, 0.0), mask, layout)
    return found
