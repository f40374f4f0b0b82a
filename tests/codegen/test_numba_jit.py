from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sparsedsl.codegen.numba_jit import load
from sparsedsl.codegen.python import source
from sparsedsl.loops.interpret import interpret
from sparsedsl.loops.promote import promote
from sparsedsl.loops.simplify import simplify
from sparsedsl.loops.verify import verify


@settings(deadline=None, max_examples=20, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_compiled_kernels_do_what_the_interpreter_does(random_kernels, data):
    kernel = verify(data.draw(random_kernels.kernels()))
    expected = interpret(kernel, random_kernels.arguments())
    if data.draw(st.booleans()):
        kernel = verify(simplify(promote(kernel)))
    safe = data.draw(st.booleans())
    compiled = load(source(kernel, fastmath=False, safe=safe))
    arguments = random_kernels.arguments()
    found = compiled(*(arguments[param.name] for param in kernel.params))
    random_kernels.same_results(found, expected)
