from __future__ import annotations

import pytest

from sparsedsl.contraction.extent import (
    check_shapes,
    index_extents,
    output_shapes,
)
from sparsedsl.contraction.nodes import Access, Affine, Assign, Call, Program, Reduce, Tensor
from sparsedsl.errors import NotationError, Span


def at(tensor, *subscripts):
    return Access(tensor, tuple(Affine.of(s) if isinstance(s, str) else s for s in subscripts))


def program_of(*factors, left="i", ranks=None):
    inputs = tuple(
        {f.tensor: Tensor(f.tensor, len(f.subscripts), "float64") for f in factors}.values()
    )
    body = factors[0]
    for factor in factors[1:]:
        body = Call("mul", (body, factor))
    free = {n for f in factors for s in f.subscripts for n in s.indices} - set(left.split())
    expression = Reduce("add", tuple(sorted(free)), body) if free else body
    target = tuple(Affine.of(n) for n in left.split())
    span = Span("y[i] = ...", 0, 10)
    out = Tensor("y", len(target), "float64")
    return Program(inputs, (out,), (Assign("y", target, expression, span=span),), ("y",))


def test_extents_come_from_plain_subscripts():
    program = program_of(at("A", "i", "j"), at("x", "j"))
    assert index_extents(program.statements[0], program) == {
        "i": (("A", 0),),
        "j": (("A", 1), ("x", 0)),
    }
    extents = check_shapes(program, {"A": (4, 5), "x": (5,)})
    assert extents == {"i": 4, "j": 5}
    assert output_shapes(program, extents) == {"y": (4,)}


def test_disagreement_names_both_operands_and_the_sizes():
    program = program_of(at("A", "i", "j"), at("x", "j"))
    with pytest.raises(NotationError) as caught:
        check_shapes(program, {"A": (4, 5), "x": (4,)})
    assert caught.value.message == "index j: expected 5 (A, mode 1), found 4 (x, mode 0)"


def test_an_affine_subscript_alone_gets_the_largest_extent_in_range():
    program = program_of(at("A", Affine((("i", 1), ("k", 1)))), at("w", "k"))
    assert index_extents(program.statements[0], program)["i"] == ()
    assert check_shapes(program, {"A": (10,), "w": (3,)}) == {"i": 8, "k": 3}


@pytest.mark.parametrize(
    ("subscript", "size", "extent"),
    [
        (Affine((("i", 2),), 1), 10, 5),
        (Affine((("i", 2),), 1), 9, 4),
        (Affine((("i", 1),), 3), 3, 0),
        (Affine((("i", -1),), 4), 5, 5),
        (Affine((("i", -2),), 4), 5, 3),
    ],
)
def test_largest_extent_of_one_affine_subscript(subscript, size, extent):
    program = program_of(at("A", subscript))
    assert check_shapes(program, {"A": (size,)}) == {"i": extent}
    reach = {subscript.constant + dict(subscript.terms)["i"] * i for i in range(extent)}
    assert all(0 <= r < size for r in reach)
    beyond = subscript.constant + dict(subscript.terms)["i"] * extent
    assert not 0 <= beyond < size


@pytest.mark.parametrize(
    ("subscript", "message"),
    [
        (
            Affine((("i", 1),), 1),
            "A, mode 0: expected subscripts from 0 to 3, found 'i+1' which runs from 1 to 4\n"
            "hint: sd.padded(A)[...] reads the fill value beyond the edges; or pass slices as "
            "operands of their own, such as x[1:] and x[:-1]",
        ),
        (Affine((), 4), "A, mode 0: expected subscripts from 0 to 3, found '4' which is 4"),
        (
            Affine((), -1),
            "A, mode 0: expected subscripts from 0 to 3, found '-1' which is -1\n"
            "hint: negative subscripts do not count from the end",
        ),
    ],
)
def test_subscripts_out_of_range_are_refused(subscript, message):
    program = program_of(at("A", subscript), at("x", "i"))
    with pytest.raises(NotationError) as caught:
        check_shapes(program, {"A": (4,), "x": (4,)})
    assert str(caught.value) == message


def test_subscripts_of_an_empty_loop_are_in_range():
    program = program_of(at("A", Affine((("i", 1),), 7)), at("x", "i"))
    assert check_shapes(program, {"A": (4,), "x": (0,)}) == {"i": 0}


def test_broadcast_index_needs_an_extent():
    program = program_of(at("x", "i"), left="i j")
    with pytest.raises(NotationError) as caught:
        check_shapes(program, {"x": (4,)})
    assert str(caught.value) == (
        "index j has no extent: it subscripts no operand\n"
        "  y[i] = ...\n"
        "  ^^^^^^^^^^\n"
        "hint: use j as a subscript on the right, or give the result's shape: "
        "sd.output(shape=(...))"
    )
    assert check_shapes(program, {"x": (4,)}, {"i": 4, "j": 6}) == {"i": 4, "j": 6}


def test_given_shape_must_agree():
    program = program_of(at("x", "i"))
    with pytest.raises(NotationError, match=r"expected 5 \(the given shape\), found 4"):
        check_shapes(program, {"x": (4,)}, {"i": 5})


def test_rank_of_the_data_must_agree():
    with pytest.raises(NotationError, match=r"x: expected 1 modes, found shape \(4, 1\)"):
        check_shapes(program_of(at("x", "i")), {"x": (4, 1)})


def test_an_extent_found_later_serves_an_earlier_statement():
    first = Assign("y", (Affine.of("i"), Affine.of("j")), at("x", "i"))
    second = Assign("z", (Affine.of("j"),), at("w", "j"))
    tensors = (Tensor("x", 1, "float64"), Tensor("w", 1, "float64"))
    outputs = (Tensor("y", 2, "float64"), Tensor("z", 1, "float64"))
    program = Program(tensors, outputs, (first, second), ("y", "z"))
    assert check_shapes(program, {"x": (2,), "w": (3,)}) == {"i": 2, "j": 3}


def test_intermediates_carry_their_shape():
    first = Assign("t", (Affine.of("i"), Affine.of("j")), at("A", "j", "i"))
    second = Assign("y", (Affine.of("k"),), Reduce("add", ("l",), at("t", "k", "l")))
    outputs = (Tensor("t", 2, "float64"), Tensor("y", 1, "float64"))
    program = Program((Tensor("A", 2, "float64"),), outputs, (first, second), ("y",))
    extents = check_shapes(program, {"A": (2, 3)})
    assert extents == {"i": 3, "j": 2, "k": 3, "l": 2}
    assert output_shapes(program, extents) == {"t": (3, 2), "y": (3,)}
