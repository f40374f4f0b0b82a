"""What a kernel cannot say: each message tells what was expected, found, where and what to do."""

from __future__ import annotations

import math

import numba
import numpy as np
import pytest
import scipy.sparse as sp
from tracing import info, run, traced

from sparsedsl.contraction.nodes import VALUE_DTYPES
from sparsedsl.errors import NotationError, NotationTypeError
from sparsedsl.frontend import functions as sd
from sparsedsl.frontend.handles import ArgumentInfo, output
from sparsedsl.frontend.surface import index, indices
from sparsedsl.frontend.trace import trace

RNG = np.random.default_rng(0)
A, x = RNG.normal(size=(4, 3)), RNG.normal(size=5)
i, j, k = indices("i j k")


M = sp.csr_array(A)


@numba.njit
def doubled(x):
    return 2 * x


def bad(body):
    """Trace a kernel of one statement body(A, C) with A of two modes; return the error."""

    def kernel(A):
        C = output()
        result = body(A, C)
        return C if result is None else result

    with pytest.raises(NotationError) as caught:
        traced(kernel, A)
    return caught.value


def assign(left, right):
    def body(A, C):
        C[left] = right(A)

    return body


MISTAKES = {
    "too many subscripts": (
        assign((i, j), lambda A: A[i, j, k]),
        "A has 2 modes, found 3 subscripts",
        "give one for each mode: A[i, j]",
    ),
    "truth value": (
        assign((i, j), lambda A: A[i, j] if A[i, j] > 0 else 0),
        "an expression has no truth value while a kernel is traced",
        "choose with sd.where(condition, x, y) or sd.minimum / sd.maximum; combine conditions "
        "with & | ~, as in (i < j) & (j < k)",
    ),
    "and": (
        assign((i, j), lambda A: A[i, j] and A[i, j]),
        "an expression has no truth value while a kernel is traced",
        "choose with sd.where(condition, x, y) or sd.minimum / sd.maximum; combine conditions "
        "with & | ~, as in (i < j) & (j < k)",
    ),
    "float index": (
        assign((i, j), lambda A: A[i, 1.5]),
        "A: expected an index or an integer as a subscript, found 1.5",
        None,
    ),
    "string index": (
        assign((i, j), lambda A: A["i", j]),
        "A: expected an index or an integer as a subscript, found 'i'",
        'make it an index first: i = sd.index("...")',
    ),
    "slice": (
        assign((i, j), lambda A: A[i, :]),
        "A: expected an index or an integer as a subscript, found a slice",
        "an index stands for a whole mode: write A[i, j] instead of A[i, :]",
    ),
    "product of indices": (
        assign((i, j), lambda A: A[i, j * k]),
        "A: expected an index or an integer as a subscript, found 'j * k'",
        "subscripts are sums of indices times integers, such as 2*i + j + 1",
    ),
    "no subscripts": (
        assign((i, j), lambda A: A * 2),
        "A is used without subscripts",
        "say which element is meant: A[i, j]",
    ),
    "matrix product": (
        assign((i, j), lambda A: A @ A),
        "'@' has no meaning inside a kernel",
        "write the indices: C[i, j] = A[i, k] * B[k, j]",
    ),
    "len": (
        assign((i, j), lambda A: len(A) * A[i, j]),
        "A has no length",
        "use A.shape[0]",
    ),
    "iteration": (
        assign((i, j), lambda A: next(iter(A))),
        "A cannot be iterated over",
        "an index stands for every position: A[i, j]",
    ),
    "math": (
        assign((i, j), lambda A: math.exp(A[i, j])),
        "an expression is no number yet",
        "use sd.exp, sd.sqrt, ... instead of the math module's; sd.output(dtype=...) gives a "
        "result its dtype",
    ),
    "np.sum": (
        assign((i,), lambda A: np.sum(A[i, j])),
        "np.sum has no meaning for a sparsedsl expression",
        "use the functions of sparsedsl, such as sd.where and sd.sum(..., over=k)",
    ),
    "array": (
        assign((i, j), lambda A: A[i, j] * x),
        "expected an expression or a number, found ndarray",
        "give arrays to the kernel as arguments and subscript them: A[i, j]; outside of a kernel "
        "NumPy's functions take tensors: np.exp(T)",
    ),
    "array from outside": (
        assign((i, j), lambda A: A[i, j] * x[i]),
        "an index or expression of a kernel is no array, and subscripts none from outside",
        "give every array that the kernel reads as an argument; results are sd.output()",
    ),
    "scipy matrix from outside": (
        assign((i, j), lambda A: A[i, j] * M[i, j]),
        "an index or expression of a kernel is no array, and subscripts none from outside",
        "give every array that the kernel reads as an argument; results are sd.output()",
    ),
    "compiled function": (
        assign((i, j), lambda A: doubled(A[i, j])),
        "a function under @numba.njit takes numbers, found expressions of a kernel",
        "write @sd.function above its @numba.njit, then it takes expressions",
    ),
    "np.linalg": (
        assign((i,), lambda A: np.linalg.norm(A[i, j])),
        "np.linalg.norm has no meaning for a sparsedsl expression",
        "use the functions of sparsedsl, such as sd.where and sd.sum(..., over=k)",
    ),
    "twice on the left": (
        assign((i, i), lambda A: A[i, j]),
        "index i stands twice on the left of '='",
        "give each mode an index of its own and select with sd.where(i == j, ..., 0)",
    ),
    "offset on the left": (
        assign((i + 1, j), lambda A: A[i, j]),
        "expected a plain index on the left of '=', found 'i+1'",
        "move the offset to the right side: C[i] = A[i + 1]",
    ),
    "number on the left": (
        assign((3, j), lambda A: A[i, j]),
        "expected a plain index on the left of '=', found '3'",
        "a statement gives every element: C = sd.output(shape=...); "
        "C[i] = sd.where(i == 3, ..., 0)",
    ),
    "reduction without indices": (
        assign((i,), lambda A: sd.sum(A[i, j])),
        "sum: expected the indices to reduce over, found none",
        "write sd.sum(..., over=k)",
    ),
    "reduction over a foreign index": (
        assign((i,), lambda A: sd.max(A[i, j], over=k)),
        "max: index k does not occur in the expression",
        "reduce over indices that subscript some operand inside",
    ),
    "ambiguous sum": (
        assign((i,), lambda A: sd.exp(A[i, j] * A[i, j]) * A[i, j]),
        "the sum over j could be inside the function or around it",
        "say which with sd.sum(..., over=j)",
    ),
    "bitwise on floats": (
        assign((i, j), lambda A: A[i, j] & A[i, j]),
        "'&' is not defined for float64 and float64",
        "'&' needs bools or integers: compare first, as in '(x > 0) & (y > 0)'",
    ),
    "read before assigned": (
        lambda A, C: assign((i, j), lambda A: C[i, j] + A[i, j])(A, C),
        "'C' is read before anything is assigned to it",
        None,
    ),
    "divmod": (
        assign((i, j), lambda A: divmod(A[i, j], 2)),
        "an expression has no divmod",
        "write the quotient x // y and the remainder x % y apart",
    ),
    "shift": (
        assign((i, j), lambda A: A[i, j] << 1),
        "an expression cannot be shifted",
        "multiply by a power of two, or divide with //",
    ),
    "attribute of an argument": (
        assign((i, j), lambda A: A.T[i, j]),
        "'.T' has no meaning inside a kernel",
        "swap the subscripts: A[j, i]",
    ),
    "attribute of an expression": (
        assign((i, j), lambda A: A[i, j].cumsum()),
        "'.cumsum' has no meaning inside a kernel",
        "write one statement over indices: C[i, j] = A[i, k] * x[k]",
    ),
    "format": (
        assign((i, j), lambda A: f"{A[i, j]:.2f}"),
        "an expression is no number to format with '.2f'",
        "kernels run once, on placeholders: print the result of the call",
    ),
    "subscripted expression": (
        assign((i, j), lambda A: (A[i, j] + 1)[i, j]),
        "an expression cannot be subscripted",
        "subscript the operands: A[i] + B[i]",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_common_mistakes(name):
    body, message, hint = MISTAKES[name]
    error = bad(body)
    assert error.message == message
    assert error.hint == hint
    assert error.span is not None
    assert error.span.file == __file__


def test_the_whole_message_points_at_the_place():
    def kernel(A):
        C = output()
        C[i, j] = A[i, j] * A[i, j, k]
        return C

    with pytest.raises(NotationError) as caught:
        traced(kernel, A)
    line = kernel.__code__.co_firstlineno + 2
    hint = "hint: give one for each mode: A[i, j]"
    assert str(caught.value) == (
        "A has 2 modes, found 3 subscripts\n"
        f'  File "{__file__}", line {line}\n'
        "  C[i, j] = A[i, j] * A[i, j, k]\n"
        f"                      ^^^^^^^^^^\n{hint}"
    )


def test_assigned_twice():
    def body(A, C):
        C[i, j] = A[i, j]
        C[i, j] = A[i, j]

    error = bad(body)
    assert error.message == "'C' is assigned twice"
    assert error.hint == "use += to accumulate, or a second sd.output()"


def test_other_accumulations_are_refused():
    def body(A, C):
        C[i, j] = A[i, j]
        C[i, j] *= A[i, j]

    assert bad(body).message == "an output can be accumulated into by += and -= only"


def test_assigning_to_an_argument():
    def body(A, C):
        A[i, j] = 1

    assert bad(body).message == "'A' is an argument and cannot be assigned to"


def test_widening_after_a_read_is_refused():
    def kernel(n, x):
        C, D = output(), output()
        C[j] = n[j]
        D[j] = C[j]
        C[j] += x[j]
        return D

    with pytest.raises(NotationTypeError, match="'C' has dtype int64 where it is read") as caught:
        traced(kernel, np.arange(5), x)
    assert caught.value.hint == 'give its dtype: sd.output(dtype="float64")'


RETURNS = {
    "None": (lambda A, C: (), "expected outputs to be returned, found tuple"),
    "argument": (lambda A, C: A, "expected outputs to be returned, found the argument A"),
    "expression": (
        lambda A, C: A[i, j] + 1,
        "expected outputs to be returned, found the expression A[i, j] + 1.0",
    ),
    "number": (lambda A, C: 3, "expected outputs to be returned, found int"),
    "unassigned": (lambda A, C: None, "returns an output that nothing is assigned to"),
}


@pytest.mark.parametrize("name", RETURNS)
def test_wrong_results(name):
    body, message = RETURNS[name]
    assert message in bad(body).message


def test_forgotten_return():
    def kernel(A):
        C = output()
        C[i, j] = A[i, j]

    with pytest.raises(NotationError) as caught:
        traced(kernel, A)
    assert caught.value.message == "kernel kernel: expected outputs to be returned, found None"
    assert caught.value.hint == "end the kernel with: return C"
    assert caught.value.span.text.strip() == "def kernel(A):"


def test_parameters_must_be_plain():
    with pytest.raises(NotationError, match=r"expected plain parameters, found '\*rest'"):
        trace(lambda A, *rest: None, [info(A)])
    with pytest.raises(NotationError, match=r"expected plain parameters, found '\*\*rest'"):
        trace(lambda A, **rest: None, [info(A)])


class Things:
    """What is no function that runs once, from its first line to its return."""

    def generator(self):
        yield

    async def coroutine(self):
        pass

    async def both(self):
        yield


@pytest.mark.parametrize(
    ("thing", "found"),
    [
        (3, "int"),
        (Things, "the class Things"),
        (Things().generator, "a generator"),
        (Things().coroutine, "a coroutine"),
        (Things().both, "a generator"),
        (doubled, "one under @numba.njit"),
    ],
)
def test_a_kernel_is_a_function(thing, found):
    with pytest.raises(NotationError, match=f"a function to make a kernel of, found {found}\n"):
        trace(thing, [info(A)])


def test_an_output_without_subscripts_has_its_name():
    def body(A, C):
        C += A[i, j]

    assert bad(body).message == "C is used without subscripts"


def test_number_of_arguments():
    def kernel(A, B):
        return None

    with pytest.raises(NotationError, match=r"expected 2 arguments \(A, B\), found 1"):
        traced(kernel, A)


def test_output_needs_a_kernel():
    with pytest.raises(NotationError, match="used outside a kernel"):
        output()


def test_output_of_another_kernel():
    kept = []

    def first(A):
        C = output()
        C[i, j] = A[i, j]
        kept.append(C)
        return C

    traced(first, A)
    with pytest.raises(NotationError, match="found an output of another kernel"):
        traced(lambda A: kept[0], A)


@pytest.mark.parametrize(
    ("dtype", "fill", "message"),
    [
        ("int32", 1.5, "expected a fill value of dtype int32, found 1.5"),
        ("int32", math.nan, "expected a fill value of dtype int32, found nan"),
        ("float64", 1j, "expected a fill value of dtype float64, found 1j"),
        ("uint8", -1, "expected a fill value of dtype uint8, found -1"),
        ("float64", "0", "expected a number as fill_value, found str"),
        ("U3", 0, f"expected one of the dtypes {', '.join(VALUE_DTYPES)}, found 'U3'"),
        ("nothing", 0, f"expected one of the dtypes {', '.join(VALUE_DTYPES)}, found 'nothing'"),
    ],
)
def test_fill_and_dtype_of_an_output(dtype, fill, message):
    def kernel(A):
        C = output(dtype=dtype, fill_value=fill)
        C[i, j] = A[i, j] > 0
        return C

    with pytest.raises(NotationError) as caught:
        traced(kernel, A)
    assert caught.value.message == message


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("i i", "index i is named twice"),
        ("i 2", "expected an index name such as i, found '2'"),
        ("", "expected an index name such as i, found ''"),
        ("i in", "expected an index name such as i, found 'in'"),
        (3, 'expected index names in one string such as "i j k", found 3'),
    ],
)
def test_index_names(names, message):
    with pytest.raises(NotationError) as caught:
        indices(names)
    assert caught.value.message == message


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((5, -1), r"expected a shape of extents, each at least 0 or None, found (5, -1)"),
        ((5,), "expected 1 subscripts, as many as the shape (5,) that 'C' was given, found 2"),
    ],
)
def test_shapes_that_do_not_fit(shape, message):
    def kernel(x):
        C = output(shape=shape)
        C[i, j] = x[i]
        return C

    with pytest.raises(NotationError) as caught:
        traced(kernel, x)
    assert caught.value.message == message
    assert caught.value.span is not None


def test_a_shape_disagrees_with_an_operand():
    def kernel(x):
        C = output(shape=(4, 2))
        C[i, j] = x[i]
        return C

    with pytest.raises(NotationError, match=r"expected 4 \(the given shape\), found 5"):
        run(kernel, x)


@pytest.mark.parametrize(("names", "found"), [("ijk", "fewer"), ("i j k l", "more")])
def test_index_names_that_do_not_go_round(names, found):
    def kernel(A):
        i, j, k = indices(names)
        return A[i, j, k]

    with pytest.raises(NotationError) as caught:
        traced(kernel, A)
    assert caught.value.message == f"expected 3 index names, found {found}"
    assert caught.value.hint == (
        'give a name for each, separated by spaces: i, j, k = sd.indices("i j k")'
    )
    assert caught.value.span.file == __file__
    assert "indices(names)" in caught.value.span.text


def test_unpacking_of_other_things_is_the_users_own():
    def kernel(A):
        first, _second = [A]
        return first

    with pytest.raises(ValueError, match="not enough values") as caught:
        traced(kernel, A)
    assert not isinstance(caught.value, NotationError)


def test_expressions_are_printed_as_they_are_written():
    def kernel(A):
        C = output()
        assert f"{A[i, j]} {i}" == "A[i, j] i"
        C[i, j] = A[i, j]
        return C

    traced(kernel, A)


def test_index_takes_one_name():
    assert repr(2 * index("i") - 1) == "2*i-1"
    with pytest.raises(NotationError, match="expected one index name, found 2"):
        index("i j")


def test_errors_of_the_users_own_pass_through():
    def kernel(A):
        return A.nothing

    with pytest.raises(AttributeError, match="nothing"):
        traced(kernel, A)


def test_expressions_nested_too_deeply():
    def body(A, C):
        total = A[i, j]
        for _ in range(5000):
            total = total + A[i, j]
        C[i, j] = total

    assert bad(body).message == "the expression is nested too deeply"


@pytest.mark.parametrize(
    ("dtype", "number", "message"),
    [
        ("int8", 200, "200 does not fit int8"),
        ("uint8", -1, "-1 does not fit uint8"),
        ("float64", 10**400, "the number does not fit float64"),
    ],
)
def test_numbers_that_do_not_fit(dtype, number, message):
    def kernel(a):
        C = output()
        C[i] = a[i] + number
        return C

    with pytest.raises(NotationTypeError) as caught:
        trace(kernel, [ArgumentInfo((3,), dtype)])
    assert caught.value.message == message


def test_integers_to_negative_powers():
    def kernel(a):
        C = output()
        C[i] = a[i] ** -1
        return C

    with pytest.raises(NotationTypeError) as caught:
        trace(kernel, [ArgumentInfo((3,), "int64")])
    assert caught.value.hint == "use a floating exponent: x ** -1.0"
