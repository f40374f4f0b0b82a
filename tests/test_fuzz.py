"""Any text ends in a result or in an error of the tree: the parsers under random input.

``HYPOTHESIS_PROFILE=search`` draws new cases each time; the checks draw the same ones.
"""

import contextlib
import gzip
import json

from hypothesis import given, settings
from hypothesis import strategies as st

import rdu
import sparsedsl as sd
from sparsedsl.cli.arguments import layout_of, pairs, tensors
from sparsedsl.contraction.operators import OPERATORS
from sparsedsl.frontend.arguments import ArgumentInfo
from sparsedsl.frontend.einsum import einsum_program
from sparsedsl.frontend.string import parse_statement

MATRIX = ArgumentInfo((3, 3), "float64", 0, False)
VECTOR = ArgumentInfo((3,), "float64", 0, True)
BUDGET = settings(max_examples=120)


def words(*parts):
    """Texts of these parts, of others now and then, in any order."""
    part = st.one_of(st.sampled_from(parts), st.sampled_from(parts), st.text(max_size=3))
    return st.lists(part, max_size=14).map("".join)


STATEMENTS = words(
    *("y[i]", "A[i,j]", "x[j]", "A[i, k]", "=", "+=", "*", "+", "-", "/", "**", "(", ")", "[", "]"),
    *("sum(k, ", "min(", "exp(", "where(", "pattern(A)", "i", "j", ",", "1", "2.5", "<", "~", " "),
    *sorted(OPERATORS)[:8],
)


@BUDGET
@given(STATEMENTS)
def test_statements(text):
    with contextlib.suppress(sd.SparseDSLError):
        parse_statement(text, {"A": MATRIX, "x": VECTOR})


@BUDGET
@given(words("i", "j", "k", ",", "->", "...", " ", "ij", "jk"), st.integers(0, 3))
def test_einsum_notation(text, count):
    with contextlib.suppress(sd.SparseDSLError):
        einsum_program(text, [MATRIX, VECTOR, MATRIX][:count])


RELATIONS = words(
    *("[N, M]", "->", "{", "}", "[i, p]", "[i, j]", ":", "0 <= i < N", "and", "j = f(p)", "exists"),
    *(
        "ptr(i) <= p < ptr(i + 1)",
        "floor(i/4)",
        "i mod 3",
        "(",
        ")",
        "+",
        "*",
        "-1",
        "2",
        " ",
        "or",
    ),
)
PROPERTIES = words(
    "nondecreasing ", "increasing ", "f", "ptr", "within ", "range ", "in [0, N)", "="
)


@BUDGET
@given(RELATIONS, words("data", "(p)", "(i, j)", "data(p)"), st.lists(PROPERTIES, max_size=2))
def test_layouts(relation, value, properties):
    with contextlib.suppress(sd.SparseDSLError):
        sd.Layout("x", relation, value=value, properties=properties)


ENTRIES = words(
    *("2 2 1\n", "2 2 2\n", "2 2\n", "1 1 3.0\n", "2 1 -1e999\n", "\n", "% x\n", "0 0 0\n"),
    *("1 2\n", "3 4 5.0\n", "nan", "99999999999", "1.5\n", "%%MatrixMarket ", "complex"),
)
BANNERS = st.builds(
    "%%MatrixMarket matrix {} {} {}\n".format,
    st.sampled_from(["coordinate", "array"]),
    st.sampled_from(["real", "integer", "complex", "pattern"]),
    st.sampled_from(["general", "symmetric", "skew-symmetric", "hermitian"]),
)
HEADS = st.one_of(BANNERS, st.builds("{}{}".format, BANNERS, ENTRIES), st.just(""))


@BUDGET
@given(HEADS, ENTRIES, st.sampled_from([".mtx", ".tns", ".npy", ".npz", ".mtx.gz"]), st.booleans())
def test_files(tmp_path_factory, head, entries, ending, compressed):
    path = tmp_path_factory.mktemp("fuzz") / f"x{ending}"
    text = (head + entries).encode()
    path.write_bytes(gzip.compress(text) if compressed and ending.endswith(".gz") else text)
    with contextlib.suppress(sd.SparseDSLError):
        sd.read(path)


@BUDGET
@given(words("A", "=", "csr", "bcsr", "(2,2)", ",", " ", "x100", "*", "i", "100"))
def test_options_of_the_command_line(text):
    for attempt in (
        lambda: pairs(text, "--layouts", "A=csr"),
        lambda: layout_of(text),
        lambda: tensors("y[i] = A[i,j]", layouts=text),
    ):
        with contextlib.suppress(sd.SparseDSLError):
            attempt()


TOML = words(
    *(
        "[memory.hbm]",
        "[pcu]",
        "count",
        "=",
        "64",
        "-1",
        '"x"',
        "\n",
        "bytes",
        "1e99",
        "name",
        "[[",
    ),
    *("hz", "nan", "true", "{", "}"),
)


@BUDGET
@given(TOML)
def test_chips(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("fuzz") / "x.toml"
    path.write_text(text)
    for read in (rdu.Chip.from_toml, rdu.Node.from_toml):
        with contextlib.suppress(rdu.RDUError):
            read(path)


COMPOSITIONS = words(
    *("[router]", "[[expert]]", "name", "weight_gb", "run_ms", "state_gb", "count", "probability"),
    *("=", "14.0", "-1", "1e999", "nan", '"x"', "\n", "[hbm]", "bytes_per_s", "capacity"),
)


@BUDGET
@given(COMPOSITIONS)
def test_compositions_and_platforms(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("fuzz") / "x.toml"
    path.write_text(text)
    for read in (rdu.coe.read_composition, rdu.coe.Platform.from_toml):
        with contextlib.suppress(rdu.RDUError):
            read(path)


SIZES = ("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size", "head_dim")
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-1, 4096), st.floats(), st.text(max_size=3), st.just([])
)


@BUDGET
@given(st.dictionaries(st.sampled_from(SIZES), VALUES), st.sampled_from(["llama", "x", 3, None]))
def test_configurations_of_models(tmp_path_factory, sizes, kind):
    path = tmp_path_factory.mktemp("fuzz") / "config.json"
    whole = {"model_type": kind, "intermediate_size": 64, "vocab_size": 9, **sizes}
    path.write_text(json.dumps(whole))
    with contextlib.suppress(rdu.RDUError):
        rdu.models.from_hf_config(path)


@BUDGET
@given(words("0", "1", ",", "\n", "expert", "0.5", "-1", "nan", "x", " "))
def test_traces(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("fuzz") / "x.csv"
    path.write_text(text)
    with contextlib.suppress(rdu.RDUError):
        rdu.coe.Trace.from_file(path)
