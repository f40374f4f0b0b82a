"""Mistakes in specifications: each is refused at its place, with what to do."""

import pytest

import sparsedsl as sd

RELATION = (
    "[N, M] -> { [i, p] -> [i, j] : 0 <= i < N and indptr(i) <= p < indptr(i+1) "
    "and j = indices(p) and 0 <= j < M }"
)
WITHIN = "within indptr(i) <= p < indptr(i+1)"

RELATIONS = {
    "no arrow": ("] -> { [", "] { [", "{"),
    "no closing brace": (" }", "", " "),
    "more text": ("M }", "M } foo", "foo"),
    "a word for and": ("and j =", "adn j =", "adn"),
    "an unknown name": ("indices(p)", "indices(k)", "k"),
    "no lower bound": ("0 <= i < N and ", "", "i"),
    "no upper bound": ("0 <= i < N", "0 <= i", "i"),
    "one extent twice": ("[N, M]", "[N, N]", "N"),
    "one dim twice": ("[i, p]", "[i, i]", "i"),
    "an open parenthesis": ("indptr(i)", "indptr(i", "("),
    "a product of dims": ("j = indices(p)", "j = i*p", "i*p"),
    "a division by zero": ("j = indices(p)", "j = floor(p/0)", "0"),
    "a remainder of zero": ("j = indices(p)", "j = p mod 0", "0"),
    "a fraction": ("j = indices(p)", "j = p/2", "/"),
    "a decimal": ("0 <= i", "0.5 <= i", "."),
    "a long number": ("0 <= i", f"{10**30} <= i", str(10**30)),
    "no extent of a mode": ("[N, M] ->", "[N] ->", "M"),
    "exists nothing": (": 0 <= i", ": exists 0 <= i", "0"),
    "alternatives of other lengths": (
        "< M }",
        "< M; [q] -> [i, j] : i = q and j = q and 0 <= q < N }",
        "[",
    ),
}


def refused(relation=RELATION, value="data(p)", properties=()):
    with pytest.raises(sd.LayoutError) as caught:
        sd.Layout("mistaken", relation, value=value, properties=properties)
    error = caught.value
    assert error.span is not None, error
    assert error.hint, error
    return error.span.text[error.span.column : error.span.end_column]


@pytest.mark.parametrize("name", RELATIONS)
def test_relations(name):
    before, after, marked = RELATIONS[name]
    assert before in RELATION
    found = refused(RELATION.replace(before, after, 1))
    assert found.strip() == marked.strip()


@pytest.mark.parametrize(
    ("value", "marked"),
    [
        *(("1", "1"), ("data(p) + 1", "data(p) + 1"), ("data", "data"), ("data(q)", "q")),
        *(("indices(p)", "indices"), ("data(p", "("), ("", ""), ("data(j)", "j")),
    ],
)
def test_values(value, marked):
    assert refused(value=value).strip() == marked


@pytest.mark.parametrize(
    ("item", "marked"),
    [
        ("nondecresing indptr", "nondecresing"),
        ("nondecreasing ptr", "ptr"),
        ("nondecreasing", ""),
        ("increasing indices within", ""),
        ("increasing indices within p", ""),
        ("increasing indices within 0 <= i < N", "i"),
        ("range indices in [0, M", ""),
        ("range indices in (0, M)", "("),
        ("range indices [0, M)", "["),
        ("lexicographic (indptr, nothing)", "nothing"),
        ("indptr(0) <= 0", "<="),
        ("indptr(0) = 0 = 1", "="),
        ("indptr(k) = 0", "k"),
        ("indptr(0, 1) = 0", "indptr"),
        ("0 = 0", "0"),
        ("disjoint (indices)", ")"),
        ("permutation indices within 0 <= p < N", "within"),
        (f"increasing {WITHIN}", "within"),
        ("", ""),
    ],
)
def test_properties(item, marked):
    assert refused(properties=[item]).strip() == marked


def test_a_name_that_is_nearly_right_is_suggested():
    for item in ("nondecresing indptr", "Nondecreasing indptr"):
        with pytest.raises(sd.LayoutError, match="did you mean nondecreasing"):
            sd.Layout("mistaken", RELATION, value="data(p)", properties=[item])
    with pytest.raises(sd.LayoutError, match="leave out a promise"):
        sd.Layout("mistaken", RELATION, value="data(p)", properties=["short indptr"])
