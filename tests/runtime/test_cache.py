import json
import os
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import numpy as np
import pytest

from sparsedsl.codegen.python import source
from sparsedsl.errors import CacheError
from sparsedsl.loops.build import add, i, ivar, length, load, store
from sparsedsl.loops.nodes import ArrayParam, Assign, For, IntParam, Kernel
from sparsedsl.options import options
from sparsedsl.runtime import cache
from sparsedsl.runtime.cache import CacheWarning, KernelCache
from sparsedsl.runtime.cache_files import private_directory
from sparsedsl.runtime.environment import environment


def text(step=1):
    p = ivar("p")
    body = (For(p, i(0), length("x"), (store("x", [p], add(load("x", p), step)),)),)
    return source(Kernel("bump", (ArrayParam("x", "int64", 1),), body, ("x",)))


@pytest.fixture
def directory(tmp_path):
    return private_directory(tmp_path)


@pytest.fixture
def fresh(directory):
    """A way to open the directory as another process would: nothing in memory."""
    return lambda limit=1 << 30: KernelCache(directory, limit)


def run(entry):
    (x,) = entry.load()(np.arange(3))
    return x.tolist()


def test_stored_kernels_are_found_and_run(fresh):
    assert fresh().lookup("key") is None
    fresh().store("key", text(), {"params": ["x"]})
    found = fresh().lookup("key")
    assert found is not None
    assert found.metadata == {"params": ["x"]}
    assert found.source == text()
    assert run(found) == [1, 2, 3]
    assert fresh().lookup("other key") is None


def test_two_keys_of_one_kernel_share_its_file(fresh):
    one, two = fresh().store("one", text()), fresh().store("two", text())
    assert one.path == two.path
    assert one.load() is two.load()
    assert (fresh().info().entries, fresh().info().kernels) == (2, 1)


@pytest.mark.parametrize(
    "damage", [lambda t: t + "\nprint('tampered')\n", lambda t: t[:40], lambda t: "", None]
)
def test_a_changed_module_is_not_run_but_written_anew(fresh, damage, capsys):
    path = fresh().store("key", text()).path
    if damage is None:
        path.unlink()
    else:
        path.write_text(damage(text()))
    assert fresh().lookup("key") is None
    again = fresh().store("key", text())
    assert path.read_text() == text()
    assert run(again) == [1, 2, 3]
    assert capsys.readouterr().out == ""


def test_a_module_changed_after_lookup_is_not_run(fresh, capsys):
    fresh().store("key", text(5))
    entry = fresh().lookup("key")
    entry.path.write_text("print('tampered')")
    assert run(entry) == [5, 6, 7]
    assert capsys.readouterr().out == ""


def test_a_changed_index_is_not_believed(fresh, directory):
    fresh().store("key", text(), {"proved": False})
    (index,) = (directory / "index").glob("*.json")
    record = json.loads(index.read_text())
    record["content"]["metadata"]["proved"] = True
    for damaged in (json.dumps(record), "{", "[]", '{"content": 3}', "\x00"):
        index.write_text(damaged)
        assert fresh().lookup("key") is None
    index.write_bytes(b"\xff\xfe")
    assert fresh().lookup("key") is None


def test_damaged_machine_code_is_compiled_anew(fresh, directory):
    script = f"""
        from pathlib import Path
        import numpy as np
        from sparsedsl.runtime.cache import KernelCache
        entry = KernelCache(Path({str(directory)!r}), 1 << 30).lookup("key")
        kernel = entry.load()
        assert kernel(np.arange(3))[0].tolist() == [1, 2, 3]
        print(sum(kernel.stats.cache_hits.values()))
    """
    fresh().store("key", text())
    assert [python(script), python(script)] == ["0", "1"]
    for kind in ("*.nbi", "*.nbc"):
        for path in directory.rglob(kind):
            path.write_bytes(path.read_bytes()[:30])
        assert [python(script), python(script)] == ["0", "1"]


LINKED = """
    from pathlib import Path
    import sys
    import numpy as np
    from sparsedsl.runtime.cache import KernelCache
    entry = KernelCache(Path({directory!r}), 1 << 30).lookup("key")
    x = np.arange(3)
    print(*entry.function([x, 2])(x, 2), *x, "numba" in sys.modules)
"""


def counting():
    """A kernel whose result is an int, as those of all kernels of the pipeline are."""
    p = ivar("p")
    body = (
        Assign(ivar("count"), i(0)),
        For(p, i(0), ivar("n"), (store("x", [p], 7), Assign(ivar("count"), add(ivar("count"), 1)))),
    )
    params = (ArrayParam("x", "int64", 1), IntParam("n"))
    return source(Kernel("counted", params, body, ("count",)))


def test_object_code_runs_without_numba_and_is_believed_as_written(fresh, directory):
    script = LINKED.format(directory=str(directory))
    fresh().store("key", counting())
    assert [python(script), python(script)] == ["2 7 7 2 True", "2 7 7 2 False"]
    (path,) = directory.glob("k_*.o")
    whole = path.read_bytes()
    half = len(whole) // 2
    flipped = whole[:half] + bytes([whole[half] ^ 1]) + whole[half + 1 :]
    for damaged in (flipped, whole[:half], b"", whole + b"\0", b"\xff\n\xff"):
        path.write_bytes(damaged)
        assert [python(script), python(script)] == ["2 7 7 2 True", "2 7 7 2 False"]
        assert path.read_bytes() == whole


def test_object_code_of_another_machine_or_setting_is_not_taken(fresh, directory):
    script = LINKED.format(directory=str(directory))
    fresh().store("key", counting())
    assert python(script) == "2 7 7 2 True"
    assert python(script, NUMBA_OPT="1") == "2 7 7 2 True"


def test_object_code_is_evicted_with_its_kernel(fresh, directory):
    cache = fresh()
    x = np.arange(3)
    cache.store("key", counting()).function([x, 2])(x, 2)
    assert len(list(directory.glob("k_*.o"))) == 1
    KernelCache(directory, 1).store("other", text())
    assert not list(directory.glob("k_*.o"))


def python(script, **variables):
    """Run a script in another process and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_eight_processes_at_once_share_a_directory(fresh, directory):
    script = f"""
        from pathlib import Path
        import numpy as np
        from sparsedsl.runtime.cache import KernelCache
        store = KernelCache(Path({str(directory)!r}), 1 << 30)
        for step in range(2):
            text = {text()!r}.replace("+= 1", f"+= {{step}}")
            entry = store.store(f"key {{step}}", text)
            assert entry.load()(np.arange(3))[0].tolist() == [step, step + 1, step + 2]
    """
    running = [
        subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stderr=subprocess.PIPE)
        for _ in range(8)
    ]
    ends = [(process.communicate()[1], process.returncode) for process in running]
    assert [errors.decode() for errors, code in ends if code] == []
    assert fresh().info().kernels == 2
    assert not list(directory.rglob(".new-*"))


def test_the_directory_is_private(tmp_path):
    loose = tmp_path / "kernels-1"
    loose.mkdir(mode=0o777)
    assert private_directory(tmp_path).stat().st_mode & 0o777 == 0o700


def test_a_directory_that_cannot_be_made_is_replaced_with_a_warning(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        options(cache_dir=str(tmp_path / "file" / "below")),
        pytest.warns(CacheWarning, match="cannot be used"),
    ):
        kernels = cache.default()
    assert kernels.directory is not None
    assert run(kernels.store("key", text())) == [1, 2, 3]


def test_a_directory_that_becomes_full_is_left_with_a_warning(fresh, monkeypatch):
    kernels = fresh()

    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "write", full)
    with pytest.warns(CacheWarning, match="No space left"):
        entry = kernels.store("key", text(7))
    assert entry.path is None
    assert run(entry) == [7, 8, 9]
    assert kernels.lookup("key") is entry


def test_without_cache_nothing_is_written(tmp_path):
    with options(cache=False, cache_dir=str(tmp_path)):
        kernels = cache.default()
        assert run(kernels.store("key", text(2))) == [2, 3, 4]
        assert kernels.lookup("key") is not None
        assert cache.info().directory is None
    assert not list(tmp_path.iterdir())


def test_the_environment_chooses_the_directory(tmp_path):
    script = "from sparsedsl.runtime import cache; print(cache.info().directory)"
    place = python(script, SPARSEDSL_CACHE_DIR=str(tmp_path))
    assert Path(place) == tmp_path / "kernels-1"
    assert python(script, SPARSEDSL_CACHE_DIR=str(tmp_path), SPARSEDSL_NO_CACHE="1") == "None"


def test_clear_empties(fresh):
    kernels = fresh()
    kernels.store("one", text(1))
    kernels.store("two", text(2))
    assert kernels.clear() == 2
    assert kernels.lookup("one") is None
    assert (fresh().info().entries, fresh().info().kernels) == (0, 0)


def test_the_kernels_used_longest_ago_are_evicted(fresh, directory):
    for step in range(6):
        fresh().store(f"key {step}", text(step) + "#" * 4000)
        (index,) = (
            p for p in (directory / "index").glob("*.json") if f"key {step}" in p.read_text()
        )
        os.utime(index, (1000 + step, 1000 + step))
    assert fresh().lookup("key 0") is not None  # used now
    fresh(limit=20_000).store("key 6", text(6) + "#" * 4000)
    left = [step for step in range(7) if fresh().lookup(f"key {step}") is not None]
    assert 0 in left
    assert 6 in left
    assert 1 not in left
    assert fresh().info().bytes <= 20_000
    assert fresh().info().kernels == len(left)


def test_metadata_must_be_json(fresh):
    with pytest.raises(CacheError, match="JSON"):
        fresh().store("key", text(), {"array": np.arange(3)})


def test_keys_hold_the_versions():
    for part in ("numba", "llvmlite", "z3-solver", "python", "cpu", "sparsedsl", "code"):
        assert part in environment()


def test_no_warning_for_a_usable_directory(tmp_path):
    with warnings.catch_warnings(), options(cache_dir=str(tmp_path)):
        warnings.simplefilter("error")
        assert cache.default().directory == tmp_path / "kernels-1"


FUNCTIONS = """
    import sys
    import numpy as np
    import sparsedsl as sd

    x = np.linspace(-2.0, 2.0, 40).reshape(8, 5)
    pairs = [(x, x + 0.3), (x.astype("float32"), x.astype("float32")), (x + 1j, x - 0.5j)]
    real = (
        "exp(A[i,j]) + expm1(A[i,j]) + log1p(abs(A[i,j])) + log2(abs(B[i,j]) + 1) + sin(A[i,j]) * "
        "cos(B[i,j]) + tan(A[i,j]) + arctan(A[i,j]) + sinh(B[i,j]) + cosh(A[i,j]) + tanh(A[i,j]) + "
        "log10(abs(A[i,j]) + 2) + sqrt(abs(A[i,j])) + (abs(A[i,j]) + 1) ** B[i,j] + "
        "floor(B[i,j]) + A[i,j] % (abs(B[i,j]) + 1) + rint(A[i,j]) + sign(A[i,j])"
    )
    complexes = "exp(A[i,j]) * A[i,j] ** 3 / (B[i,j] + 4) + sqrt(A[i,j]) + abs(B[i,j])"
    for A, B in pairs:
        text = complexes if A.dtype.kind == "c" else real
        found = sd.evaluate(f"C[i,j] = {text}", A=A, B=B)
        print(found.dtype, found.tobytes().hex())
        S = sd.convert(np.where(x > 1, A, 0), "csr")
        product = sd.evaluate("C[i,j] = S[i,k] * A[j,k]", S=S, A=A)
        print(product.dtype, np.asarray(product).tobytes().hex())
        print(sd.evaluate("C[i,j] = S[i,k] * T[j,k]", S=S, T=S).to_numpy().tobytes().hex())
    print("compiled" if "scipy.linalg" in sys.modules else "loaded")
"""


def test_machine_code_loads_without_the_compiler(tmp_path):
    """Functions, complex values, workspaces: all that refers to Numba's run-time."""
    found = [python(FUNCTIONS, SPARSEDSL_CACHE_DIR=str(tmp_path)).splitlines() for _ in range(2)]
    assert found[0][:-1] == found[1][:-1]
    assert [lines[-1] for lines in found] == ["compiled", "loaded"]
