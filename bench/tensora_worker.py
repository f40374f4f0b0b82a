"""tensora's half of ``sparsedsl/bench/peers/tensora.py``: runs in its environment.

Reads questions from standard input, pickled, and writes answers to standard output: whether it
failed, and what is asked for or the reason.  Needs tensora, NumPy and scipy alone.
"""

import importlib.metadata
import pickle
import sys

import numpy as np
import scipy.sparse as sp
from tensora import Tensor, tensor_method


class Prepared:
    """A compiled statement and its operands."""

    def __init__(self, statement, formats, operands):
        self.method = tensor_method(statement, formats)
        self.operands = {name: held(*parts) for name, parts in operands.items()}
        self.format = formats[statement.split("(")[0]]
        self.made = None

    def call(self):
        self.made = self.method(**self.operands)

    def result(self):
        if "s" not in self.format:
            return self.made.to_numpy()
        indices = [tuple(np.asarray(part) for part in level) for level in self.made.taco_indices]
        held = [level for level in indices if level]
        return self.made.dimensions, held, np.asarray(self.made.taco_vals)


def held(kind, shape, coordinates, values):
    """Make a tensor of coordinates and values, or of a dense array."""
    if coordinates is None:
        return Tensor.from_numpy(values)
    if len(shape) == 2:
        return Tensor.from_scipy_sparse(sp.coo_array((values, coordinates), shape), format=kind)
    lists = [c.tolist() for c in coordinates]
    return Tensor.from_soa(lists, values.tolist(), dimensions=shape, format=kind)


def answer(prepared, what, *details):
    """Do what is asked."""
    if what == "version":
        return importlib.metadata.version("tensora")
    if what == "prepare":
        prepared.append(Prepared(*details))
        return len(prepared) - 1
    if what == "forget":
        prepared[details[0]] = None
        return None
    return getattr(prepared[details[0]], what)()


def main():
    """Answer until the questions end."""
    prepared = []
    while True:
        try:
            asked = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            said = False, answer(prepared, *asked)
        except Exception as error:
            said = True, f"{type(error).__name__}: {error}"
        pickle.dump(said, sys.stdout.buffer)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
