import numpy as np
import pytest

from rdu.coe import Composition, Expert, Trace, serve, sn40l_node
from rdu.errors import SpecError

TWO = Composition([Expert("law"), Expert("code")])


def written(tmp_path, text):
    path = tmp_path / "trace.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_names_numbers_chains_and_times(tmp_path):
    trace = Trace.from_file(
        written(tmp_path, "arrival_s,expert\n0.5,law\n1.0,1\n2.5,law > 1\n"), TWO
    )
    np.testing.assert_array_equal(trace.experts, [[0, -1], [1, -1], [0, 1]])
    np.testing.assert_array_equal(trace.arrivals, [0.5, 1.0, 2.5])
    assert trace.conversations is None


def test_conversations_by_any_text(tmp_path):
    text = "\ufeffexpert,conversation\nlaw,ann\ncode,\nlaw,bob\nlaw,ann\n"
    trace = Trace.from_file(written(tmp_path, text), TWO)
    np.testing.assert_array_equal(trace.predecessors(), [-1, -1, -1, 0])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("expert\nmath\n", "line 2: 'math'"),
        ("model\n1\n", "column 'expert'"),
        ("expert;arrival_s\n1;2\n", "with commas"),
        ("expert,arrival\n1,2\n", "arrival_s"),
        ("expert,arrival_s\n1,soon\n", "line 2: arrival_s"),
        ("expert,arrival_s\n1,2\n1\n", "line 3: arrival_s must be a number"),
        ("expert,arrival_s\n1,2\n1,1\n", "line 3: arrival_s must be finite, ascending"),
        ("expert,arrival_s\n1,nan\n", "line 2: arrival_s must be finite"),
        ("expert,arrival_s\n1,-3\n", "line 2: arrival_s must be finite"),
        ("expert,arrival_s\n1,inf\n", "line 2: arrival_s must be finite"),
        ("expert\n1,4\n", "line 2: more cells"),
        ("expert\n-1\n", "line 2: '-1'"),
        ("expert\n1>\n", "line 2: ''"),
        ("expert\n\u00b2\n", "line 2: '\u00b2'"),
        ("expert\n7\n", "line 2: expert 7 of 2"),
        ("expert\n" + 30 * "9" + "\n", "line 2: expert 9999"),
        ("expert\n", "no requests"),
        ("", "column 'expert'"),
        (b"\xff\xfe\x00", "not a CSV text file"),
    ],
)
def test_bad_rows_are_refused_with_their_line(tmp_path, text, told):
    with pytest.raises(SpecError) as caught:
        Trace.from_file(written(tmp_path, text), TWO)
    assert told in str(caught.value)
    assert "trace.csv" in str(caught.value)


def test_a_number_beyond_any_composition_is_refused_where_it_is_served(tmp_path):
    trace = Trace.from_file(written(tmp_path, "expert\n" + 30 * "9" + "\n"))
    with pytest.raises(SpecError, match="the composition has 2 experts"):
        serve(TWO, sn40l_node(), trace)


@pytest.mark.parametrize("path", ["/nowhere/at/all.csv", "/"])
def test_what_is_no_file_is_refused(path):
    with pytest.raises(SpecError, match="cannot read the trace"):
        Trace.from_file(path)
