import pytest
from scipy.stats import spearmanr

from rdu import paper
from rdu.paper.calibration import calibrate
from rdu.specs import sn40l_node

PAPERS_OWN = {
    *(f"{m} {p}" for m in ("llama2-7b-4k", "llama2-70b-4k") for p in ("prefill", "decode")),
    *(f"mistral-7b-{s} {p}" for s in ("2k", "4k") for p in ("prefill", "decode")),
    *(f"{m} {p}" for m in ("bloom-176b-8k", "falcon-40b-2k") for p in ("prefill", "decode")),
    *(f"llava-1.5-7b {p}" for p in ("prefill", "decode")),
    *("llama2-7b-4k train", "sparsegpt-13b-2k train", "flashfftconv-1m"),
}


def rows(number, quantity):
    return {row.name: row for row in paper.figure(number) if row.quantity == quantity}


def test_every_benchmark_has_its_rows():
    for quantity in ("speedup software", "speedup hardware", "hardware over software"):
        assert set(rows(10, quantity)) == PAPERS_OWN
    assert set(rows(11, "kernel ratio")) == PAPERS_OWN


def test_bars_without_a_published_value_are_predictions_and_fitted_ones_say_so():
    for row in paper.figure(10):
        assert row.kind == ("predicted" if row.paper is None else "calibrated")
    calibrated = {row.name for row in paper.figure(11) if row.kind == "calibrated"}
    assert calibrated == {
        *(f"{model} prefill" for model in ("llama2-7b-4k", "mistral-7b-4k")),
        *(f"{model} train" for model in ("llama2-7b-4k", "sparsegpt-13b-2k")),
    }


def test_every_bar_of_figure_10_is_on_its_side_of_one():
    bars = [r for r in paper.figure(10) if r.paper is not None and r.quantity.startswith("speedup")]
    assert len(bars) == 18
    assert all((row.ours > 1) == (row.paper > 1) for row in bars)


def test_the_convolution_within_30_percent_in_fp32():
    for quantity in ("speedup software", "speedup hardware", "hardware over software"):
        assert abs(rows(10, quantity)["flashfftconv-1m"].error) < 0.3
    assert rows(10, "speedup hardware in bf16")["flashfftconv-1m"].ours > 40


def test_the_launch_constants_are_those_of_the_calibration():
    chip = sn40l_node().chip
    found = calibrate()
    assert found.host_launch_us == chip.host_launch_us
    assert found.config_load_gb_per_s == chip.config_load_gb_per_s
    # The condition on the signs costs a little; without it one bar is on the wrong side.
    assert calibrate(signs=False).error < found.error < 0.5


def test_fusion_with_hardware_orchestration_always_pays():
    assert all(row.ours > 1 for row in rows(10, "speedup hardware").values())


def test_hardware_orchestration_helps_decode_most():
    gain = {name: row.ours for name, row in rows(10, "hardware over software").items()}
    assert min(gain.values()) >= 1
    for name, value in gain.items():
        if name.endswith("decode"):
            assert value > gain[name.replace("decode", "prefill")]
        else:
            assert value < 1.35
    assert gain["flashfftconv-1m"] == pytest.approx(1, abs=0.05)


def test_rank_of_hardware_gain_follows_the_paper():
    known = [row for row in rows(10, "hardware over software").values() if row.paper is not None]
    assert spearmanr([r.paper for r in known], [r.ours for r in known]).statistic > 0.7


def test_what_figure_10_reaches():
    """The page tells the rest as missed: the rank is not 1, two gains are more than 30 % off."""
    bars = [r for r in paper.figure(10) if r.paper is not None and r.quantity.startswith("speedup")]
    assert spearmanr([r.paper for r in bars], [r.ours for r in bars]).statistic > 0.6
    gains = [r for r in rows(10, "hardware over software").values() if r.paper is not None]
    assert sum(abs(r.error) < 0.3 for r in gains) == 7


@pytest.mark.parametrize(
    "name",
    [
        *("llama2-7b-4k decode", "llama2-70b-4k prefill", "llama2-70b-4k decode"),
        *("mistral-7b-4k prefill", "mistral-7b-4k decode", "sparsegpt-13b-2k train"),
        "flashfftconv-1m",
    ],
)
def test_kernel_ratio_within_30_percent_where_the_model_reaches_it(name):
    assert abs(rows(11, "kernel ratio")[name].error) < 0.3


def test_llama_8b_within_20_percent():
    by_name = {row.name: row for row in paper.table("IV") if row.quantity == "tokens per second"}
    assert abs(by_name["llama-3.1-8b"].error) < 0.2
    speeds = [by_name[f"llama-3.1-{size}"].ours for size in ("8b", "70b", "405b")]
    assert speeds == sorted(speeds, reverse=True)


def test_expert_run_within_25_percent():
    known = [row for row in paper.runs() if row.quantity == "run ms"]
    assert [row.name.split()[-2] for row in known] == ["20", "200"]
    assert known[0].paper == 66.67
    for row in known:
        assert abs(row.error) < 0.25
        assert row.kind == "predicted"


def test_the_decoder_kernel_keeps_most_of_the_published_bandwidth():
    shares = {row.name: row.ours for row in paper.runs() if row.quantity == "share of hbm"}
    small, large = (shares[f"llama2-{size} decoder kernel, decode"] for size in ("7b", "70b"))
    # A smaller layer loses more to the latency of its two collectives.
    assert 0.80 < small < large < 0.85
    for row in paper.runs():
        if row.quantity == "share of units":
            assert abs(row.ours - 0.9) < 0.05


def test_unpublished_inputs_are_varied_beside_it():
    rows = {row.quantity: row for row in paper.runs() if "20 tokens" in row.name}
    ours = rows["run ms"].ours
    assert rows["run ms, not padded"].ours < ours
    assert rows["run ms, peer links twice as fast"].ours < ours
    assert rows["run ms, peer latency doubled"].ours > ours


def test_kernel_looping_helps_within_its_published_bound():
    rows = {row.quantity: row for row in paper.table("IV") if row.name == "llama-3.1-8b"}
    gain = rows["tokens per second with kernel looping"].ours / rows["tokens per second"].ours
    assert 1 < gain <= 2.2


def test_table_1_from_the_graph():
    own = [row for row in paper.table("I") if row.paper is not None]
    assert len(own) == 3
    assert all(abs(row.error) < 0.002 for row in own)
