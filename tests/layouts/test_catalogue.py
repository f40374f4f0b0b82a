import ast
from pathlib import Path

import pytest

import sparsedsl
from sparsedsl.errors import LayoutError
from sparsedsl.layouts.catalogue import Family, known, layouts, plain, resolve
from sparsedsl.layouts.layout import Layout

# What meets other libraries' layouts, and what users see.
NAMING = ("interop", "demo", "cli", "bench")
# Words that are also names of layouts but mean other things elsewhere.
WORDS = {
    "dense",
    "pattern",
    "symmetric",
    "packed",
    "triangular",
    "bitmap",
    "ragged",
    "morton",
    "hash",
}


def test_layouts_are_found_by_name_in_any_case():
    assert layouts["csr"] is layouts["CSR"] is layouts.CSR is layouts.csr
    assert "csr" in layouts
    assert "nothing" not in layouts
    assert len(layouts) == len(list(layouts))
    assert "CSR" in dir(layouts)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(KeyError) as caught:
        layouts["cssr"]
    assert isinstance(caught.value, LayoutError)
    assert "unknown layout 'cssr'; known are dense, coo" in str(caught.value)
    with pytest.raises(AttributeError, match="unknown layout 'CSSR'"):
        layouts.CSSR
    for wrong in (3, None, ("csr",)):
        with pytest.raises(LayoutError):
            resolve(wrong, 2)


def test_families_take_the_rank_of_the_tensor():
    for rank in range(5):
        assert resolve("csf", rank).rank == rank
    assert resolve("csf", 9).rank == 9
    assert resolve(layouts["csf"](order=(2, 0, 1)), 3).order == (2, 0, 1)
    assert isinstance(layouts["hicoo"](4), Family)
    assert layouts["hicoo"](4).of(3).block_sizes == (4,)
    with pytest.raises(LayoutError, match="holds tensors of 2 modes, found 3"):
        resolve("csr", 3)
    assert resolve("hicoo", 2).block_sizes == (128,)
    with pytest.raises(LayoutError, match="needs block sizes"):
        resolve(layouts["hicoo"], 2)
    with pytest.raises(LayoutError, match="permutation"):
        layouts["csf"](order=(0, 2))


@pytest.mark.parametrize("name", list(layouts))
def test_a_name_alone_will_do(name):
    assert resolve(name, 2).label.partition("(")[0] == name
    assert resolve(name.upper(), 2) == resolve(layouts.usual(name), 2)


def test_the_same_storage_has_one_name():
    assert known(resolve("csr", 2)(order=(1, 0))) == resolve("csc", 2)
    assert known(resolve("csc", 2)(order=(1, 0))) == resolve("csr", 2)
    assert known(resolve("dense", 3)(order=(2, 1, 0))) == plain(3, (2, 1, 0))
    own = Layout("own", "[N] -> { [p] -> [i] : 0 <= p < N and i = f(p) }", value="data(p)")
    assert known(own) is own


def test_no_other_module_knows_a_layout_by_name():
    """Formats are data: none is named but in the catalogue, the bridges and what users see."""
    root = Path(sparsedsl.__file__).parent
    names = set(layouts) - WORDS
    offenders: list[str] = []
    for path in sorted(root.rglob("*.py")):
        relative = path.relative_to(root)
        if relative.parts[0] in NAMING or relative.name in ("catalogue.py", "families.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            for word in _words(node):
                if word.lower() in names:
                    offenders.append(f"{relative}:{getattr(node, 'lineno', 0)}: {word}")
    assert not offenders, "\n".join(offenders)


def _words(node):
    """Identifiers, taken apart at underscores, and whole strings."""
    match node:
        case ast.Constant(value=str() as text):
            return [text]
        case ast.Name(id=name) | ast.arg(arg=name) | ast.Attribute(attr=name):
            return name.split("_")
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return name.split("_")
        case _:
            return []
