"""What a kernel cannot say: each message tells what was expected, found, where and what to do."""

from __future__ import annotations

import math

import numba
import numpy as np
import pytest
import scipy.sparse as sp
from tracing import info, mistake, traced

from sparsedsl.errors import NotationError, NotationTypeError
from sparsedsl.frontend import functions as sd
from sparsedsl.frontend.outputs import output
from sparsedsl.frontend.surface import indices
from sparsedsl.frontend.trace import trace

RNG = np.random.default_rng(0)
A, x = RNG.normal(size=(4, 3)), RNG.normal(size=5)
i, j, k = indices("i j k")


M = sp.csr_array(A)


@numba.njit
def doubled(x):
    return 2 * x


def bad(body):
    return mistake(body, A)


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
        "an index stands for every position, an integer for one: A[i, 0]",
    ),
    "list of positions": (
        assign((i, j), lambda A: A[i, [0, 1]]),
        "A: expected an index or an integer as a subscript, found [0, 1]",
        "take these positions outside of the kernel: A[:, [0, 1]] as an argument",
    ),
    "maximum of a value and a number": (
        assign((i, j), lambda A: sd.max(A[i, j], 0)),
        "max: expected an index to reduce over, found 0",
        "the maximum of two values is sd.maximum(a, b); over=j reduces over j",
    ),
    "minimum of two values": (
        assign((i, j), lambda A: sd.min(A[i, j], A[i, j] * 2)),
        "min: expected an index to reduce over, found A[i, j] * 2.0",
        "the minimum of two values is sd.minimum(a, b); over=j reduces over j",
    ),
    "in": (
        assign((i, j), lambda A: A[i, j] in A),
        "an expression cannot be searched with 'in'",
        "compare: sd.any(A[i, j] == x, over=j) asks for x",
    ),
    "an index as a tensor": (
        assign((i, j), lambda A: A[i, j] * i[j]),
        "'i' is an index and has no subscripts",
        "subscript a tensor with it: x[i]; a name stands for one of the two",
    ),
    "nnz": (
        assign((i, j), lambda A: A.nnz * A[i, j]),
        "'.nnz' has no meaning inside a kernel",
        "write sd.sum(sd.where(sd.pattern(A)[i, j], 1, 0), over=(i, j)), or give it as an "
        "argument",
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
        "write sd.sum(A[i, j], over=j)",
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
        "write sd.sqrt(sd.sum(sd.square(sd.abs(x[i])), over=i))",
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
        "an index stands for every position, without a loop over them: C[i] = ...; one element is "
        "given by C = sd.output(shape=...) and C[i] = sd.where(i == 3, ..., 0)",
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


def test_a_vector_without_subscripts_is_to_be_given_one():
    def body(x, C):
        C[i] = 2 * x

    assert mistake(body, x).hint == "say which element is meant: A[i]"
