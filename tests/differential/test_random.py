"""Random statements over random layouts, shapes and values, against the dense oracle."""

from expressions import store
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from levels import check, interpreting, remembering_proofs
from strategies import arguments, statements

from sparsedsl.choices import Choices
from sparsedsl.frontend.string import parse_statement
from sparsedsl.frontend.trace import Traced
from sparsedsl.kernel import Engine


@settings(
    max_examples=250,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.data())
def test_random_statements(data):
    statement, operands = data.draw(statements())
    values = data.draw(arguments(operands))
    tensors = {n: store(dense, mask, layout) for n, (dense, mask, layout) in values.items()}
    truth = {n: dense for n, (dense, _, _) in values.items()}

    def tracer(infos):
        named = dict(zip(tensors, infos, strict=True))
        return Traced(parse_statement(statement, named, dtype=None, fill_value=0))

    out = data.draw(st.sampled_from((None, None, "dense", "sparse")))
    rank = statement.partition("=")[0].count(",") + ("()" not in statement.partition("=")[0])
    layout = {"sparse": "csf" if rank else None, "dense": "dense"}.get(out)
    with interpreting(), remembering_proofs():
        engine = Engine(tracer, Choices(out=layout))
        check(engine.specialise(list(tensors.values())), tensors, truth)
