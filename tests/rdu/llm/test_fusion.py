import pytest

from rdu.errors import MappingError
from rdu.llm import cut
from rdu.llm.fusion import scratchpad_bytes
from rdu.models import flash_fft_conv, llama
from rdu.models.operators import GroupBuilder, ModelGraph
from rdu.specs import sn40l_node

SRAM = sn40l_node().chip.sram_bytes


def test_unfused_is_one_kernel_an_operator():
    graph = llama("llama2-7b", "decode")
    kernels = cut(graph, "none", scratchpad=SRAM)
    assert sum(kernel.repeat for kernel in kernels) == graph.calls
    traffic = sum(kernel.memory_bytes * kernel.repeat for kernel in kernels)
    assert traffic == pytest.approx(sum(op.memory_bytes * op.repeat for op in graph.operators))


def test_a_decoder_layer_is_one_kernel():
    kernels = cut(llama("llama2-7b", "decode"), "spatial", scratchpad=SRAM)
    assert [kernel.repeat for kernel in kernels] == [1, 32, 1]


def test_a_convolution_is_one_kernel_that_reads_and_writes_once():
    (kernel,) = cut(flash_fft_conv(channels=1), "spatial", scratchpad=SRAM)
    points = 4 * 2**20  # fp32
    # The input and the filter's two parts in, one real result out.
    assert kernel.read_bytes == 3 * points
    assert kernel.write_bytes == points


@pytest.mark.parametrize("phase", ["prefill", "decode", "train"])
def test_fusion_saves_traffic_and_covers_the_work(phase):
    graph = llama("llama2-7b", phase, 1, 512, 8)
    loose, fused = (cut(graph, f, scratchpad=SRAM) for f in ("none", "spatial"))
    for kernel in fused:
        assert kernel.scratchpad_bytes <= 0.9 * SRAM

    def total(kernels, what):
        return sum(getattr(kernel, what) * kernel.repeat for kernel in kernels)

    assert total(fused, "memory_bytes") < total(loose, "memory_bytes")
    if phase == "train":  # what was not stored is computed again
        assert total(loose, "flops") < total(fused, "flops") < 1.5 * total(loose, "flops")
    else:
        assert total(fused, "flops") == pytest.approx(total(loose, "flops"))


def test_small_scratchpads_mean_more_kernels():
    graph = llama("llama2-70b", "prefill", 1, 4096, 8)
    counts = [len(cut(graph, "spatial", scratchpad=SRAM * f)) for f in (1, 0.4, 0.2)]
    assert counts == sorted(counts)
    assert counts[-1] > counts[0]


def chain_graph():
    b = GroupBuilder("g")
    x = b.tensor("in", 100)
    big = b.add("big", "gemm", [x], 1000, weights=40)
    small = b.add("small", "gemm", [big], 1, weights=40)
    b.add("last", "gemm", [small], 100, weights=40)
    return ModelGraph("chain", "prefill", 1, 1, 1, tuple(b.operators))


def test_cuts_fall_where_the_fewest_bytes_cross():
    # Two operators fit together: either cut gives two kernels, the second crosses two bytes.
    kernels = cut(chain_graph(), "spatial", scratchpad=160, share=1.0)
    assert [[op.name for op in kernel.operators] for kernel in kernels] == [
        ["big", "small"],
        ["last"],
    ]
    assert kernels[0].write_bytes == kernels[1].read_bytes == 2


def test_barriers_hold_what_lives_across_them():
    b = GroupBuilder("g")
    x = b.tensor("in", 10)
    early = b.add("early", "elementwise", [x], 10)
    keys = b.add("keys", "elementwise", [x], 20)
    meet = b.add("meet", "attention", [early, keys], 5, barrier=True)
    b.add("late", "elementwise", [meet, early], 5)
    # early and keys, two bytes an element, double buffered, per sequence.
    assert scratchpad_bytes(b.operators, "prefill", 1) == 2 * 2 * 30
    assert scratchpad_bytes(b.operators, "prefill", 2) == 2 * 30


def test_unknown_fusion():
    with pytest.raises(MappingError, match="unknown fusion 'some'"):
        cut(chain_graph(), "some", scratchpad=1)
