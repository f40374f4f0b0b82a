"""Small mistakes put into the compiler, one at a time: tests that let one pass are not enough.

    python tests/mutants.py --count 30 --seed 1

A mutant is a module in which one comparison, constant, condition or operator is another one.  It
lies in a copy of the tree, and the tests named for its module are run there.  Mutants that live
are printed with the line and what it became; some of them mean the same as the original, the
others want a test.  The exit status is 1 where one lives.
"""

import argparse
import ast
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from random import Random

ROOT = Path(__file__).parents[1]

TESTS = {
    "contraction/algebra.py": ("contraction", "differential/test_values.py"),
    "contraction/demands.py": ("contraction", "differential/test_values.py"),
    "contraction/fuse.py": ("contraction", "differential/test_rows.py"),
    "contraction/implicit.py": ("contraction/test_implicit.py",),
    "contraction/lift.py": ("contraction",),
    "contraction/pairs.py": ("contraction/test_pairs.py",),
    "contraction/path.py": ("contraction/test_pairs.py", "frontend/test_einsum.py"),
    "contraction/terms.py": ("contraction",),
    "contraction/versions.py": ("contraction",),
    "find/algorithms.py": ("find",),
    "find/certificates.py": ("find",),
    "find/choose.py": ("find",),
    "find/facts.py": ("find",),
    "find/prove.py": ("find", "lowering"),
    "find/queries.py": ("find",),
    "iteration/cases.py": ("iteration", "lowering", "differential/test_random.py"),
    "iteration/chains.py": ("iteration", "lowering", "differential/test_random.py"),
    "iteration/copies.py": ("iteration", "runtime/test_copies.py", "differential/test_matrix.py"),
    "iteration/merging.py": ("iteration", "differential/test_diagonals.py", "lowering"),
    "iteration/plan.py": ("iteration", "lowering", "differential/test_random.py"),
    "loops/fusion.py": ("loops/test_fusion.py", "differential/test_passes.py"),
    "loops/simplify.py": ("loops",),
    "lowering/deliver.py": ("lowering", "differential/test_random.py"),
    "lowering/fusion.py": ("differential/test_passes.py",),
    "lowering/merge.py": ("lowering", "differential/test_diagonals.py"),
    "pipeline/diagonals.py": ("differential/test_diagonals.py",),
    "pipeline/groups.py": (
        "contraction",
        "differential/test_rows.py",
        "differential/test_values.py",
    ),
    "pipeline/passes.py": ("differential/test_passes.py",),
    "pipeline/rows.py": ("differential/test_rows.py",),
    "runtime/copies.py": ("runtime/test_copies.py",),
}
"""Modules of the compiler, and the tests that are to notice a mistake in each."""

OPERATORS: dict[type, type] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}

SECONDS = 900
"""After which a mutant that does not end counts as noticed."""


def changed(node):
    """Return the text that a node becomes, or None if it is left."""
    match node:
        case ast.Compare(left, [operator], right) if type(operator) in OPERATORS:
            return ast.unparse(ast.Compare(left, [OPERATORS[type(operator)]()], right))
        case ast.BoolOp(operator, values):
            return f"({ast.unparse(ast.BoolOp(OPERATORS[type(operator)](), values))})"
        case ast.BinOp(left, operator, right) if type(operator) in OPERATORS:
            return f"({ast.unparse(ast.BinOp(left, OPERATORS[type(operator)](), right))})"
        case ast.UnaryOp(ast.Not(), operand):
            return f"({ast.unparse(operand)})"
        case ast.IfExp(test, yes, no):
            return f"({ast.unparse(ast.IfExp(test, no, yes))})"
        case ast.Constant(bool() as value):
            return str(not value)
        case ast.Constant(int() as value):
            return str(value + 1)
        case _:
            return None


def mutants(source):
    """Return ``(line, start, end, text)`` of every mutant of a module, in bytes of its source."""
    lines = source.encode().splitlines(keepends=True)
    starts = [sum(map(len, lines[:n])) for n in range(len(lines))]
    found, tree = [], ast.parse(source)
    typed = [getattr(n, f, None) for n in ast.walk(tree) for f in ("annotation", "returns")]
    types = {part for t in typed if t is not None for part in ast.walk(t)}
    for node in ast.walk(tree):
        text = None if node in types else changed(node)
        if text is not None:
            start = starts[node.lineno - 1] + node.col_offset
            end = starts[node.end_lineno - 1] + node.end_col_offset
            found.append((node.lineno, start, end, text))
    return found


def lives(tree, module, mutant, tests):
    """Whether the tests pass with a mutant in the copy of the tree."""
    path = tree / "sparsedsl" / module
    source = path.read_bytes()
    _, start, end, text = mutant
    path.write_bytes(source[:start] + text.encode() + source[end:])
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        ran = subprocess.run(
            [*command, *(f"tests/{name}" for name in tests)],
            cwd=tree,
            env=environment,
            capture_output=True,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired:
        return False
    finally:
        path.write_bytes(source)
    return ran.returncode == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--count", type=int, default=20, help="mutants to try")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--module", choices=TESTS, action="append", help="only of this module")
    given = parser.parse_args()
    random, alive = Random(given.seed), 0
    with tempfile.TemporaryDirectory() as place:
        tree = Path(place)
        for name in ("sparsedsl", "rdu", "tests", "pyproject.toml"):
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, tree / name)
        for number in range(given.count):
            module = random.choice(given.module or sorted(TESTS))
            source = (tree / "sparsedsl" / module).read_text()
            mutant = random.choice(mutants(source))
            alive += (survives := lives(tree, module, mutant, TESTS[module]))
            line, start, end, text = mutant
            was = source.encode()[start:end].decode()
            told = "LIVES" if survives else "noticed"
            print(f"{number} {told} {module}:{line}: {was}  =>  {text}", flush=True)
    print(f"{alive} of {given.count} live")
    return bool(alive)


if __name__ == "__main__":
    sys.exit(main())
