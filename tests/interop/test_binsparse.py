import numpy as np
import pytest
import scipy.sparse as sp

from sparsedsl.errors import InvalidTensorError, LayoutError
from sparsedsl.interop import asarray
from sparsedsl.interop.binsparse import from_binsparse


class Given:
    def __init__(self, descriptor, arrays):
        self.pair = descriptor, arrays

    def __binsparse__(self):
        return self.pair


@pytest.mark.parametrize("layout", ["csr", "csc", "coo", "dcsr", "dcsc", "dense"])
def test_round_trip_shares_memory(layout):
    dense = np.where(np.random.default_rng(0).random((4, 5)) < 0.4, 2.0, 0.0)
    tensor = asarray(dense, layout)
    again = from_binsparse(tensor)
    assert again.layout == tensor.layout
    assert again.shape == tensor.shape
    assert np.shares_memory(again.values, tensor.values)
    assert (again.to_numpy() == dense).all()


def test_the_descriptor_names_format_shape_and_dtypes():
    tensor = asarray(sp.csr_array(np.eye(2, 3)))
    assert tensor.__binsparse_descriptor__() == {
        "binsparse": {
            "version": "0.1",
            "format": "CSR",
            "shape": [2, 3],
            "number_of_stored_values": 2,
            "data_types": {
                "pointers_to_1": "int32",
                "indices_1": "int32",
                "values": "float64",
            },
        }
    }


def test_foreign_objects_are_checked():
    arrays = {"pointers_to_1": [0, 1], "indices_1": [1], "values": [2.0]}
    good = Given({"binsparse": {"format": "CSR", "shape": [1, 2]}}, arrays)
    assert (asarray(good).to_numpy() == [[0, 2]]).all()
    short = {name: array for name, array in arrays.items() if name != "values"}
    with pytest.raises(InvalidTensorError, match="missing values"):
        asarray(Given({"binsparse": {"format": "CSR", "shape": [1, 2]}}, short))
    with pytest.raises(InvalidTensorError, match="format and shape"):
        asarray(Given({}, arrays))
    with pytest.raises(LayoutError, match="unknown binsparse format 'XYZ'"):
        asarray(Given({"binsparse": {"format": "XYZ", "shape": [1, 2]}}, arrays))
    with pytest.raises(InvalidTensorError, match="indices"):
        asarray(Given({"binsparse": {"format": "CSR", "shape": [1, 1]}}, arrays))
    with pytest.raises(LayoutError, match="no format for the layout 'dia'"):
        asarray(np.eye(3), "dia").__binsparse__()
