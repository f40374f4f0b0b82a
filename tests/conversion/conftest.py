"""Compiled conversions run by the loop interpreter, which checks every subscript."""

from functools import cache

import pytest

from sparsedsl.conversion import request as requests
from sparsedsl.conversion import run
from sparsedsl.conversion.kernels import program_of
from sparsedsl.conversion.programs import Loaded
from sparsedsl.loops.interpret import interpret
from sparsedsl.loops.promote import promote
from sparsedsl.loops.simplify import simplify
from sparsedsl.loops.verify import verify


def _callable(kernel):
    if kernel is None:
        return None, ()
    small = verify(simplify(promote(verify(kernel))))
    names = tuple(param.name for param in small.params)
    return (lambda *given: interpret(small, dict(zip(names, given, strict=True)))), names


@cache
def _interpreted(request, now):
    program = program_of(request)
    count, count_names = _callable(program.count)
    fill, fill_names = _callable(program.fill)
    kernels = (count, count_names, fill, fill_names)
    names = program.scratch, program.numbers, program.shared, program.padded, program.made
    return Loaded(program.plan, *kernels, *names)


@pytest.fixture
def interpreted(monkeypatch):
    """Conversions by interpreted kernels; ``rankable`` and ``short`` are as plans take them.

    Tables are at most ``room`` long, so that terms of more values are sorted by digits.  Places
    are fetched before entries are stored to them, as they are of many.
    """
    monkeypatch.setattr(run, "loaded", _interpreted)
    monkeypatch.setattr(requests, "FAR", 0)
    monkeypatch.setattr(requests, "LOOSE", 0)

    def convert(*arguments, rankable=False, short=None, room=None, **options):
        monkeypatch.setattr(requests, "_rankable", lambda *_: rankable)
        if short is not None:
            monkeypatch.setattr(requests, "_short", lambda *_: short)
        if room is not None:
            monkeypatch.setattr(requests, "_room", lambda _: room)
        return run.convert(*arguments, **options)

    return convert
