"""What is known of processors, on descriptions of some."""

import pytest

from sparsedsl.codegen import processor

ZEN_4 = [
    "vendor_id\t: AuthenticAMD",
    "cpu family\t: 25",
    "flags\t\t: fpu sse2 avx512f avx512vl",
]
ZEN_5 = [ZEN_4[0], "cpu family\t: 26", ZEN_4[2]]
ZEN_3 = [*ZEN_4[:2], "flags\t\t: fpu sse2 avx2"]
INTEL = ["vendor_id\t: GenuineIntel", "cpu family\t: 6", ZEN_4[2]]


@pytest.fixture
def described(monkeypatch):
    asked = processor.locality, processor.has_masks, processor.gathers

    def describe(lines):
        monkeypatch.setattr(processor, "_first_processor", lambda: lines)
        for function in asked:
            function.cache_clear()

    yield describe
    for function in asked:
        function.cache_clear()


@pytest.mark.parametrize(
    ("lines", "cache"), [(ZEN_4, 2), (ZEN_5, 3), (ZEN_3, 3), (INTEL, 3), ([], 3)]
)
def test_lines_of_rows_stay_in_the_second_cache_on_zen_4_alone(described, lines, cache):
    described(lines)
    assert processor.locality(of_row=True) == cache
    assert processor.locality(of_row=False) == 3


@pytest.mark.parametrize(("lines", "found"), [(ZEN_4, False), (ZEN_5, False), (INTEL, True)])
def test_intels_processors_with_masks_gather(described, lines, found):
    described(lines)
    assert processor.gathers() is found
