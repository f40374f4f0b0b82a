import pytest

from rdu.errors import CapacityError
from rdu.llm.footprint import memory_map
from rdu.models import llama, preset
from rdu.specs import sn40l_node

CHIP = sn40l_node().chip


def test_weights_cache_and_activations_are_placed():
    placed = memory_map(llama("llama2-7b", "prefill", 1, 4096, 8), CHIP)
    assert not placed.spilled
    held = 2 * preset("llama2-7b").parameters / 8 + 4096 * 524288 / 8
    assert held < placed.used("hbm") < 1.3 * held


def test_unfused_programs_share_addresses():
    placed = memory_map(llama("llama2-7b", "prefill", 1, 4096, 8), CHIP, "none")
    assert placed.shared_bytes > 1e9


def test_training_a_large_model_spills_the_smallest_transfers_first():
    placed = memory_map(llama("llama2-70b", "train", 1, 4096, 8), CHIP)
    assert placed.used("hbm") <= CHIP.hbm_bytes
    kinds = [name.split(".")[0] for name in placed.spilled]
    # Activations, then gradients (2 uses), weights (3 uses), moments (2 uses, four times the size).
    assert kinds[0] in ("head", "decoder")
    first = [kinds.index(kind) for kind in ("gradients", "weights", "moments")]
    assert first == sorted(first)


def test_a_cache_too_large_for_hbm_is_refused():
    with pytest.raises(CapacityError, match="cache"):
        memory_map(llama("llama2-7b", "decode", 300, 4096, 8), CHIP)
