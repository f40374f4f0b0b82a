"""Fuzzing of the parsers guided by coverage: a long mode beside ``test_fuzz``, for Linux.

    pip install 'sparsedsl[fuzz]'
    python tests/fuzz.py statements -max_total_time=600 -rss_limit_mb=0

The first argument names a parser, the others are those of libFuzzer.  Any text ends in a result or
in an error of the tree; what does not is written to a file ``crash-...``.
"""

import contextlib
import sys
import tempfile
from pathlib import Path

import atheris

# modules with compiled code stay as they are: Numba reads their bytecode
PACKAGES = ["frontend", "spf", "layouts", "interop", "contraction"]
INSTRUMENTED = [*(f"sparsedsl.{name}" for name in PACKAGES), "rdu.specs", "rdu.coe"]

with atheris.instrument_imports(include=INSTRUMENTED):
    import rdu
    import rdu.coe.composition_file
    import rdu.coe.trace_file
    import sparsedsl as sd
    from sparsedsl.frontend.arguments import ArgumentInfo
    from sparsedsl.frontend.einsum import einsum_program
    from sparsedsl.frontend.string import parse_statement

MATRIX = ArgumentInfo((3, 3), "float64", 0, False)
VECTOR = ArgumentInfo((3,), "float64", 0, True)
FOLDER = Path(tempfile.mkdtemp())


def statements(data):
    text = data.decode("utf-8", "replace")
    with contextlib.suppress(sd.SparseDSLError):
        parse_statement(text, {"A": MATRIX, "x": VECTOR})


def einsum(data):
    text = data.decode("utf-8", "replace")
    with contextlib.suppress(sd.SparseDSLError):
        einsum_program(text, [MATRIX, VECTOR])


def layouts(data):
    relation, _, rest = data.decode("utf-8", "replace").partition(";")
    value, *properties = rest.split(";")
    with contextlib.suppress(sd.SparseDSLError):
        sd.Layout("x", relation, value=value, properties=properties)


def files(ending):
    def parse(data):
        path = FOLDER / f"x{ending}"
        path.write_bytes(data)
        with contextlib.suppress(sd.SparseDSLError):
            sd.read(path)

    return parse


def traces(data):
    path = FOLDER / "trace.csv"
    path.write_bytes(data)
    with contextlib.suppress(rdu.RDUError):
        rdu.coe.Trace.from_file(path)


def chips(data):
    path = FOLDER / "chip.toml"
    path.write_bytes(data)
    for read in (rdu.Chip.from_toml, rdu.Node.from_toml):
        with contextlib.suppress(rdu.RDUError):
            read(path)


def compositions(data):
    path = FOLDER / "mine.toml"
    path.write_bytes(data)
    for read in (rdu.coe.read_composition, rdu.coe.Platform.from_toml):
        with contextlib.suppress(rdu.RDUError):
            read(path)


PARSERS = {
    "compositions": compositions,
    "statements": statements,
    "einsum": einsum,
    "layouts": layouts,
    "mtx": files(".mtx"),
    "tns": files(".tns"),
    "npz": files(".npz"),
    "traces": traces,
    "chips": chips,
}

CSR = sd.layouts["csr"]
SEEDS = {
    "statements": ["C[i,j] = A[i,j] * 2 + x[j]", "y[i] = min(A[i,j] + x[j], over=j)"],
    "einsum": ["ij,j->i", "i...,...->i"],
    "layouts": ["; ".join([CSR.text, "data(p)", "indptr(0) = 0", "nondecreasing indptr"])],
    "mtx": [
        "%%MatrixMarket matrix coordinate real general\n2 3 2\n1 2 1.5\n2 3 -1\n",
        "%%MatrixMarket matrix array complex hermitian\n2 2\n1 0\n2 1\n3 0\n",
    ],
    "tns": ["# shape 2 3 4\n1 2 3 1.5\n"],
    "traces": ["expert,arrival_s\n0,0.5\n1,0.75\n"],
    "compositions": ['[router]\nweight_gb = 2.0\n[[expert]]\nname = "x"\nweight_gb = 14.0\n'],
    "chips": [path.read_text() for path in Path(rdu.__file__).parent.glob("specs/*.toml")],
}


def seeded(name):
    """A folder of texts that are read, from which others are made."""
    folder = FOLDER / "seeds"
    folder.mkdir()
    for number, text in enumerate(SEEDS.get(name, ())):
        (folder / str(number)).write_text(text)
    if name == "npz":
        sd.write(folder / "0.npz", sd.convert(sd.asarray([[1.0, 0.0], [0.0, 2.0]]), "ell"))
    return str(folder)


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in PARSERS:
        sys.exit(f"usage: python tests/fuzz.py {'|'.join(PARSERS)} [libFuzzer options]")
    name = sys.argv.pop(1)
    atheris.Setup([*sys.argv, seeded(name)], PARSERS[name])
    atheris.Fuzz()
