"""On a terminal: tables in its width, colours, and machine output as it is elsewhere."""

import json

import pytest
from terminal import on_a_terminal, plain

import sparsedsl as sd
from sparsedsl.console import print_figures


def test_tables_fit_into_the_terminal():
    status, text = on_a_terminal("sparsedsl", "layouts")
    lines = plain(text).splitlines()
    assert status == 0
    assert all(len(line) <= 60 for line in lines)
    assert len(lines) > len(sd.layouts)
    assert [line.split()[0] for line in lines if line[:1].isalpha()] == list(sd.layouts)


def test_sources_are_coloured_and_the_same_text():
    words = ("sparsedsl", "show", "y[i] = A[i,j] * x[j]", "--layouts", "A=csr")
    status, text = on_a_terminal(*words, columns=150)
    shown = "\n".join(line.rstrip() for line in plain(text).splitlines())
    assert status == 0
    assert text != plain(text)
    compile(shown[shown.index("from numba") :], "shown", "exec")


@pytest.mark.parametrize("command", ["sparsedsl", "rdu"])
def test_mistakes_have_a_box_there(command):
    status, text = on_a_terminal(command, "nope")
    assert status == 2
    assert "No such command 'nope'" in plain(text)
    assert "╭─ Error" in plain(text)


def test_json_is_the_same_on_a_terminal():
    status, text = on_a_terminal("sparsedsl", "cache", "info", "--json")
    assert status == 0
    assert json.loads(text)["kernels"] >= 0


def test_figures_have_their_heads_above_them(capsys):
    lines = [("name", "bytes"), ("a", "12"), ("longer", "3")]
    print_figures(lines, title="Sizes")
    assert capsys.readouterr().out == "Sizes\nname    bytes\na          12\nlonger      3\n"
