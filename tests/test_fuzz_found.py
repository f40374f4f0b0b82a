"""Inputs that fuzzing guided by coverage has found."""

import numpy as np
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


def test_archives_of_a_later_format(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, a=np.eye(2))
    data = path.read_bytes()
    entry = data.index(b"PK\x01\x02")
    path.write_bytes(data[: entry + 6] + b"\x72" + data[entry + 7 :])
    with pytest.raises(sd.InvalidTensorError):
        sd.read(path)
