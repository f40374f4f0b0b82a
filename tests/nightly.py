"""Random kernels against the dense oracle, for as long as wanted: the long mode of the tests.

    python tests/nightly.py --cases 20000 --seed 1

A case is a kernel and arguments: each kernel is planned once and run in the loop interpreter on
several shapes and values, on infinities and NaN too.  One in twenty is compiled by Numba, one in
twenty runs as users' kernels do, its loops shared by two threads.  What fails is printed with the
seed that draws it again (``--seed S --cases 1``); the exit status is 1 then.
"""

import argparse
import collections
import contextlib
import itertools
import sys
import time
import traceback
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
from levels import check, compiling, interpreting, remembering_proofs, whole_products
from programs import draw_arguments, program

import sparsedsl as sd

ARGUMENTS = 8
"""Arguments that each kernel is run on."""

FINITE = ARGUMENTS - 2
"""Arguments without infinities and NaN, which those after them hold."""

COMPILED = 20
"""One kernel in this many is compiled too, and one shared by threads."""

LARGE = 40
"""The largest extent of arguments of compiled kernels: more than the elements of a vector."""

APART = 1_000_000
"""Kernels are numbered from this many times the seed."""


def run(number):
    """Run one kernel on its arguments; return how many cases that were."""
    random = Random(number)
    made = program(random)
    small = [draw_arguments(made, random, finite=n < FINITE) for n in range(ARGUMENTS)]
    large = []
    more = {0: (compiling,), COMPILED // 2: (shared,)}.get(number % COMPILED, ())
    # products of so many numbers overflow, in the one order or the other
    if more and "sd.prod" not in made.text:
        large = [draw_arguments(made, random, most=LARGE) for _ in range(2)]
    engine = made.kernel().engine
    for level in (interpreting, *more):
        with level():
            special = engine.specialise(list(small[0][0].values()))
            # the interpreter takes minutes for what machine code does at once
            for n, given in enumerate(small if level is interpreting else small + large):
                with whole_products() if FINITE <= n < ARGUMENTS else contextlib.nullcontext():
                    check(special.matching(given[0]), *given, made.rtol)
    return len(small) * (1 + len(more)) + len(large)


def shared():
    """Inside the block kernels are compiled as users' are, and two threads share every loop."""
    return sd.options(cache=False, threads=2, parallel_threshold=0)


def outcome(number):
    """Run one kernel; return how many cases that were, why it was refused, how it failed."""
    try:
        with np.errstate(all="ignore"), remembering_proofs():
            return run(number), None, None
    except (sd.NotationError, sd.PlanError) as refusal:
        return 1, refusal.message, None
    except Exception:
        return 1, None, f"seed {number}\n{program(Random(number))}{traceback.format_exc()}"


def outcomes(first, workers):
    """Yield what becomes of the kernels from the ``first`` number on, in order."""
    numbers = itertools.count(first)
    if workers < 2:
        yield from map(outcome, numbers)
    with ProcessPoolExecutor(workers) as pool:
        begun = collections.deque(pool.submit(outcome, next(numbers)) for _ in range(8 * workers))
        try:
            while begun:
                yield begun.popleft().result()
                begun.append(pool.submit(outcome, next(numbers)))
        finally:
            pool.shutdown(cancel_futures=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--cases", type=int, default=20_000, help="cases to run, at least")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the first kernel")
    parser.add_argument("--workers", type=int, default=1, help="processes that share the kernels")
    given = parser.parse_args()
    number = given.seed if given.seed >= APART else given.seed * APART
    cases, kernels, failures, refused = 0, 0, 0, collections.Counter()
    with contextlib.closing(outcomes(number, given.workers)) as every:
        for count, refusal, failure in every:
            cases, kernels = cases + count, kernels + 1
            refused.update([] if refusal is None else [refusal])
            if failure is not None:
                failures += 1
                print(failure, flush=True)
            if cases >= given.cases:
                break
    for reason, count in refused.most_common():
        print(f"refused {count:5}  {reason}")
    print(f"{cases} cases of {kernels} kernels, {refused.total()} refused, {failures} failed")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
