"""Threads, forks and interrupts, each in a process of its own with a cache of its own."""

import os
import signal
import subprocess
import sys
import textwrap
import time

PRELUDE = """
import os, signal, sys, threading
import numpy as np, scipy.sparse as sp, sparsedsl as sd
A = sp.random_array((60, 60), density=.1, format="csr", rng=np.random.default_rng(0))
x = np.arange(60.)
"""


def start(code, cache):
    return subprocess.Popen(
        [sys.executable, "-W", "error::UserWarning", "-c", PRELUDE + textwrap.dedent(code)],
        env={**os.environ, "SPARSEDSL_CACHE_DIR": str(cache)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def check(process):
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out.split()


def test_eight_threads_compile_and_call_the_same_and_different_kernels(tmp_path):
    code = """
    from concurrent.futures import ThreadPoolExecutor
    together = threading.Barrier(8)
    def job(n):
        together.wait()
        M = A if n % 2 else A.tocsc()
        assert abs(sd.einsum("ij,ij->ij", A, M) - A * A).max() < 1e-12
        for _ in range(10):
            assert np.allclose(sd.einsum("ij,j->i", A, x * n), A @ (x * n))
        return n
    with ThreadPoolExecutor(8) as pool:
        print(*pool.map(job, range(8)))
    """
    assert check(start(code, tmp_path)) == [str(n) for n in range(8)]


def test_forks_while_a_thread_compiles_leave_no_lock_behind(tmp_path):
    code = """
    import sparsedsl.codegen.llvm_object as llvm_object, sparsedsl.pipeline.stages as stages
    planning, compiling = threading.Event(), threading.Event()
    def announcing(event, module, name):
        function = getattr(module, name)
        def announced(*arguments, **named):
            event.set()
            return function(*arguments, **named)
        setattr(module, name, announced)
    announcing(planning, stages, "compile_group")
    announcing(compiling, llvm_object, "direct_code")
    thread = threading.Thread(target=sd.einsum, args=("ij,ij->ij", A, A))
    thread.start()
    children = []
    for event in (planning, compiling):
        event.wait()
        children.append(os.fork())
        if children[-1] == 0:
            signal.alarm(120)
            os._exit(0 if np.allclose(sd.einsum("ij,j->i", A, x), A @ x) else 1)
    thread.join()
    print(*(os.waitpid(child, 0)[1] for child in children))
    """
    assert check(start(code, tmp_path)) == ["0", "0"]


def test_an_interrupt_leaves_no_lock_and_no_broken_file(tmp_path):
    code = """
    import sparsedsl.find.smt as smt
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job has none
    asked = smt.prove
    def announced(*arguments):
        print("proving", flush=True)
        return asked(*arguments)
    import sparsedsl.find.queries as queries
    queries.prove = announced
    try:
        sd.einsum("ij,ij->ij", A, A)
        print("whole")
    except KeyboardInterrupt:
        print("interrupted")
    queries.prove = asked
    print(abs(sd.einsum("ij,ij->ij", A, A) - A * A).max() < 1e-12)
    """
    process = start(code, tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "proving\n"
    process.send_signal(signal.SIGINT)
    out = [word for word in check(process) if word != "proving"]
    assert out == ["interrupted", "True"]
    assert not [p for p in tmp_path.rglob("*") if p.name.startswith(".new-")]


def test_an_interrupt_of_a_run_leaves_no_lock(tmp_path):
    """Kernels run on while one thread is interrupted between two calls, or in one."""
    code = """
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job has none
    sd.einsum("ij,jk->ik", A, A)
    dense = np.ones((60, 20_000))
    sd.einsum("ij,jk->ik", A, dense)
    try:
        print("running", flush=True)
        while True:
            sd.einsum("ij,jk->ik", A, dense)
    except KeyboardInterrupt:
        print("interrupted")
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(2) as pool:
        known = pool.submit(sd.einsum, "ij,jk->ik", A, A)
        new = pool.submit(sd.einsum, "ij,ij->ij", A, A)
        print(abs(known.result(60) - A @ A).max() < 1e-12)
        print(abs(new.result(60) - A * A).max() < 1e-12)
    """
    process = start(code, tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "running\n"
    process.send_signal(signal.SIGINT)
    assert check(process) == ["interrupted", "True", "True"]
    assert not [p for p in tmp_path.rglob("*") if p.name.startswith(".new-")]


def test_an_interrupt_of_a_conversion_leaves_no_lock_and_the_source_as_it_was(tmp_path):
    code = """
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job has none
    big = sp.random_array((2000, 2000), density=.02, format="csr", rng=np.random.default_rng(0))
    source = sd.asarray(big)
    before = [array.copy() for array in source.arrays.values()]
    try:
        print("converting", flush=True)
        while True:
            for layout in ("csc", "hicoo", "jad", "bcsr"):
                sd.convert(source, layout)
    except KeyboardInterrupt:
        print("interrupted")
    print(all(map(np.array_equal, before, source.arrays.values())))
    print((sd.convert(sd.convert(source, "hicoo"), "csr").to_scipy() != big).nnz)
    """
    process = start(code, tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "converting\n"
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    assert check(process) == ["interrupted", "True", "0"]
    assert not [p for p in tmp_path.rglob("*") if p.name.startswith(".new-")]


def test_operands_that_outlive_the_modules_end_without_a_word(tmp_path):
    code = """
    @sd.kernel
    def product(A, x):
        i, j = sd.indices("i j")
        y = sd.output()
        y[j] = A[i, j] * x[i]
        return y
    for n in range(8):
        product(A, x)
    # a module that was loaded before others loses its names after they lost theirs, in this order
    os.operands, os.kernel = [A, x], product
    os.modules = [m for name, m in sys.modules.items() if name.startswith("sparsedsl")]
    del A, x
    """
    process = start(code, tmp_path)
    _, said = process.communicate(timeout=300)
    assert (process.returncode, said) == (0, "")
