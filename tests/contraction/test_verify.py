from __future__ import annotations

from dataclasses import replace

import pytest

from sparsedsl.contraction.nodes import Access, Affine, Assign, Call, Program, Reduce, Tensor
from sparsedsl.contraction.verify import verify
from sparsedsl.errors import NotationError, NotationTypeError


def at(tensor, *indices):
    return Access(tensor, tuple(Affine.of(n) for n in indices))


def assign(target, indices, expression, accumulate=None):
    return Assign(target, tuple(Affine.of(n) for n in indices), expression, accumulate)


def program_of(*statements, results=("C",)):
    inputs = (Tensor("A", 2, "float64"), Tensor("p", 2, "bool"), Tensor("z", 1, "complex64"))
    outputs = (Tensor("C", 2, "float64"), Tensor("y", 1, "float64"))
    return Program(inputs, outputs, statements, results)


A = at("A", "i", "j")
GOOD = assign("C", "ij", A)


def test_a_good_program_comes_back():
    program = program_of(GOOD, assign("C", "ji", A, "add"))
    assert verify(program) is program


@pytest.mark.parametrize(
    ("statements", "message"),
    [
        ([assign("C", "ij", at("A", "i"))], "A has 2 modes, found 1 subscript"),
        ([assign("y", "ij", A)], "y has 1 mode, found 2 subscripts"),
        ([assign("A", "ij", A)], "'A' is an argument and cannot be assigned to"),
        ([assign("C", "ii", A)], "index i stands twice on the left of '='"),
        ([assign("C", "ij", at("A", "i", "k"))], "index k is neither on the left of '=' nor"),
        ([GOOD, GOOD], "'C' is assigned twice"),
        ([assign("C", "ij", at("y", "i"))], "'y' is read before anything is assigned to it"),
        ([assign("y", "i", at("z", "i")), GOOD], "y has dtype float64, which cannot"),
        ([assign("C", "ij", Call("neg", (at("p", "i", "j"),)))], "'-' is not defined for bool"),
        ([], "'C' is returned but nothing is assigned to it"),
    ],
)  # fmt: skip
def test_mistakes_of_users_are_named(statements, message):
    with pytest.raises(NotationError) as caught:
        verify(program_of(*statements))
    assert caught.value.message.startswith(message)


def test_dtype_mistakes_are_type_errors():
    with pytest.raises(NotationTypeError):
        verify(program_of(assign("C", "ij", Call("neg", (at("p", "i", "j"),)))))


def test_one_name_one_tensor():
    program = program_of(GOOD)
    with pytest.raises(NotationError, match="expected one tensor called 'A', found 2"):
        verify(replace(program, inputs=program.inputs + program.inputs[:1]))


SUM = Reduce("add", ("k",), at("A", "i", "k"))


@pytest.mark.parametrize(
    "expression",
    [
        Call("mul", (SUM, SUM)),
        Call("nothing", (A,)),
        Call("mul", (A,)),
        Reduce("add", ("i",), A),
        Reduce("add", (), A),
        Reduce("mean", ("k",), at("A", "i", "k")),
    ],
)
def test_mistakes_of_passes_are_assertions(expression):
    with pytest.raises(AssertionError):
        verify(program_of(assign("C", "ij", expression)))


def test_terms_may_share_bound_indices():
    verify(program_of(assign("C", "ij", Call("add", (SUM, SUM)))))
