"""Sources, and a wheel built from them, work where nothing but their dependencies is installed."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]

USER = """
import sys
import numpy as np, scipy.sparse as sp
import sparsedsl as sd, rdu
assert sys.prefix in sd.__file__ and sys.prefix in rdu.__file__
A = sp.random_array((50, 40), density=0.1, format="csr", rng=np.random.default_rng(0))
assert abs(sd.einsum("ij,kj->ik", A, A) - A @ A.T).max() < 1e-12
assert rdu.sn40l_node(sockets=2).sockets == 2
assert not {"pytest", "hypothesis", "ruff"} & {*sys.modules}
print("works")
"""


def run(*command, cwd):
    plain = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=plain, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_sources_and_wheel_in_a_bare_environment(tmp_path):
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", tmp_path, cwd=ROOT)
    (source,) = tmp_path.glob("*.tar.gz")
    pip = (sys.executable, "-m", "pip", "-q")
    run(*pip, "wheel", "--no-deps", "-w", tmp_path, source, cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    tracked = [p for name in ("sparsedsl", "rdu") for p in (ROOT / name).rglob("*") if p.is_file()]
    expected = {p.relative_to(ROOT).as_posix() for p in tracked if "__pycache__" not in p.parts}
    packed = set(zipfile.ZipFile(wheel).namelist())
    assert expected <= packed, expected - packed
    assert not [name for name in packed if name.startswith(("tests/", "bench/"))]

    run(sys.executable, "-m", "venv", tmp_path / "bare", cwd=tmp_path)
    python = tmp_path / "bare" / "bin" / "python"
    run(python, "-m", "pip", "install", "-q", wheel, cwd=tmp_path)
    assert run(python, "-c", USER, cwd=tmp_path) == "works\n"
    assert "csr" in run(python, "-m", "sparsedsl", "layouts", "csr", cwd=tmp_path)
