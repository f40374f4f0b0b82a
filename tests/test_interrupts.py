"""What an interrupt comes into is finished, and the interrupt is raised after it."""

import os
import signal
import sys
import threading

import pytest

from sparsedsl.interrupts import interrupts_later

INTERRUPTED = """
import os, signal
os.kill(os.getpid(), signal.SIGINT)
for step in range(1000):
    pass
whole = True
"""


@pytest.fixture(autouse=True)
def _interrupting(tmp_path, monkeypatch):
    """A module that interrupts its own import, in a process that handles interrupts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    (tmp_path / "interrupting_module.py").write_text(INTERRUPTED)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("interrupting_module", None)
    signal.signal(signal.SIGINT, before)


def test_an_import_alone_is_interrupted():
    with pytest.raises(KeyboardInterrupt):
        __import__("interrupting_module")
    assert "interrupting_module" not in sys.modules


def test_an_import_with_interrupts_held_is_finished_and_then_the_interrupt_raised():
    with pytest.raises(KeyboardInterrupt), interrupts_later():
        __import__("interrupting_module")
    assert sys.modules["interrupting_module"].whole
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_is_handled_once_however_often_it_came():
    handled = []
    signal.signal(signal.SIGINT, lambda number, frame: handled.append(number))
    with interrupts_later():
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGINT)
        assert not handled
    assert handled == [signal.SIGINT]


def test_elsewhere_than_in_the_main_thread_nothing_is_changed():
    seen = []

    def look():
        with interrupts_later():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGINT)]
