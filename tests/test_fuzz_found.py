"""Inputs that fuzzing guided by coverage has found."""

import pytest

import rdu
import sparsedsl as sd


@pytest.mark.parametrize("break_", ["\r", "\r\r\r", "\r\n"])
def test_carriage_returns_in_a_statement(break_):
    with pytest.raises(sd.SparseDSLError):
        sd.evaluate(f"C[i{break_}-j] = x [ A + 4j]", A=[[1.0]], x=[1.0])


@pytest.mark.parametrize("read", [rdu.Chip.from_toml, rdu.Node.from_toml])
def test_specs_that_are_no_text(tmp_path, read):
    path = tmp_path / "chip.toml"
    path.write_bytes(b"name = '\x8c\x99'\n")
    with pytest.raises(rdu.RDUError, match="UTF-8"):
        read(path)
