"""Sources, and a wheel built from them, work where nothing but their dependencies is installed.

Dependencies are the newest versions there are, and the oldest that ``pyproject.toml`` admits.
"""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

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
    plain["SPARSEDSL_CACHE_DIR"] = str(cwd / "kernels")
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=plain, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build the sources, and the wheel from them alone."""
    folder = tmp_path_factory.mktemp("built")
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder, cwd=ROOT)
    (source,) = folder.glob("*.tar.gz")
    pip = (sys.executable, "-m", "pip", "-q")
    run(*pip, "wheel", "--no-deps", "-w", folder, source, cwd=folder)
    (made,) = folder.glob("*.whl")
    return made


def oldest():
    """The oldest version of each dependency that is admitted, as a requirement of pip's."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [re.sub("[>=]=", "==", requirement) for requirement in project["dependencies"]]


def test_the_wheel_holds_all_of_both_packages_and_nothing_else(wheel):
    tracked = [p for name in ("sparsedsl", "rdu") for p in (ROOT / name).rglob("*") if p.is_file()]
    expected = {p.relative_to(ROOT).as_posix() for p in tracked if "__pycache__" not in p.parts}
    packed = set(zipfile.ZipFile(wheel).namelist())
    assert expected <= packed, expected - packed
    assert not [name for name in packed if name.startswith(("tests/", "bench/"))]


@pytest.mark.parametrize("pinned", [(), tuple(oldest())], ids=["newest", "oldest"])
def test_the_wheel_works_in_a_bare_environment(pinned, wheel, tmp_path):
    run(sys.executable, "-m", "venv", tmp_path / "bare", cwd=tmp_path)
    python = tmp_path / "bare" / "bin" / "python"
    run(python, "-m", "pip", "install", "-q", wheel, *pinned, cwd=tmp_path)
    assert run(python, "-c", USER, cwd=tmp_path) == "works\n"
    assert "csr" in run(python, "-m", "sparsedsl", "layouts", "csr", cwd=tmp_path)
    run(python, "-m", "sparsedsl", "doctor", cwd=tmp_path)
    assert "Gemm0" in run(python, "-m", "rdu", "trace", cwd=tmp_path)
