"""Copies of operands in other layouts: what each is made of."""

import sparsedsl as sd
from sparsedsl.contraction.nodes import Tensor
from sparsedsl.iteration.copies import of_operands
from sparsedsl.iteration.nodes import Conversion


def copy(name, source, order):
    layout = sd.layouts["csr" if order == (0, 1) else "csc"]
    return Conversion(Tensor(name, 2, "float64"), source, layout, order, thin=False, whole=False)


def test_a_copy_of_a_copy_is_made_of_the_operand():
    """Sizes, dtypes of indices and bytes are known of operands alone."""
    rows, turned = copy("B_01", "B", (0, 1)), copy("B_01_10", "B_01", (1, 0))
    other = copy("A_10", "A", (1, 0))
    found = of_operands((rows, other, turned))
    assert [(c.tensor.name, c.source) for c in found] == [
        ("B_01", "B"),
        ("A_10", "A"),
        ("B_01_10", "B"),
    ]
    assert [c.order for c in found] == [(0, 1), (1, 0), (1, 0)]
