import pytest

import rdu
from rdu.coe import Composition, Expert, Platform, Router, dgx_a100, dgx_h100, sn40l_node
from rdu.coe.platform import PLATFORMS
from rdu.errors import CapacityError, SpecError

GOOD = """
name = "mine"
[hbm]
capacity_gb = 100
bandwidth_gb_per_s = 1000
[backing]
name = "ssd"
capacity_gb = 1000
bandwidth_gb_per_s = 10
staged = true
[switch]
name = "nvme"
link_gb_per_s = 5
links = 2
latency_us = 100
[expert]
reference_gb = 14
[[expert.run]]
output_tokens = 20
run_ms = 100
[[expert.run]]
output_tokens = 40
run_ms = 150
"""


def written(tmp_path, text):
    path = tmp_path / "platform.toml"
    path.write_text(text)
    return path


def test_switching_an_expert_takes_the_published_times():
    expert = Composition.uniform(1).experts[0]
    times = [p().switch_seconds(expert.hbm_bytes) for p in (dgx_a100, dgx_h100, sn40l_node)]
    assert times == pytest.approx([0.4375, 0.21875, 0.014], rel=1e-12)


def test_eight_links_are_eight_times_as_fast():
    assert dgx_a100(8).switch_seconds(14e9) == pytest.approx(0.4375 / 8)
    assert dgx_h100(links=8).switch_seconds(14e9) == pytest.approx(0.21875 / 8)


def test_own_platform_from_toml(tmp_path):
    platform = Platform.from_toml(written(tmp_path, GOOD))
    assert platform.switch_seconds(10e9) == pytest.approx(1.0 + 100e-6)
    expert = Expert("a", 28e9)
    assert platform.run_seconds(expert, 20) == pytest.approx(0.2)
    assert platform.run_seconds(expert, 30) == pytest.approx(0.25)
    assert platform.run_seconds(expert, 60) == pytest.approx(0.4)
    assert platform.run_seconds(Expert("b", 28e9, run_seconds=7.0), 60) == 7.0


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("capacity_gb = 100\n", "capacity_gib = 100\n", "capacity_gib"),
        ("capacity_gb = 100\n", "", "missing key 'capacity_gb'"),
        ("capacity_gb = 100\n", "capacity_gb = -1\n", "hbm.capacity_gb"),
        ("capacity_gb = 100\n", "capacity_gb = nan\n", "hbm.capacity_gb"),
        ("capacity_gb = 100\n", "capacity_gb = '100'\n", "hbm.capacity_gb"),
        ("links = 2", "links = 2.5", "switch.links"),
        ("links = 2", "links = 0", "switch.links"),
        ("latency_us = 100", "latency_us = -1", "latency"),
        ("staged = true", "staged = 1", "backing.staged"),
        ("output_tokens = 40", "output_tokens = 20", "ascend"),
        ("[expert]", "[extra]\n[expert]", "extra"),
        ("[hbm]", "[hbm", "TOML"),
    ],
)
def test_bad_files_are_refused_and_named(tmp_path, old, new, told):
    assert old in GOOD
    with pytest.raises(SpecError, match=told.replace("[", r"\[")) as error:
        Platform.from_toml(written(tmp_path, GOOD.replace(old, new, 1)))
    assert isinstance(error.value, ValueError)


def test_a_missing_file_is_a_spec_error(tmp_path):
    with pytest.raises(SpecError, match="cannot read"):
        Platform.from_toml(tmp_path / "none.toml")


def test_one_dgx_holds_150_experts_and_not_200():
    dgx_a100().require(Composition.uniform(150))
    with pytest.raises(CapacityError, match="126,000,000,000 bytes too many"):
        dgx_a100().require(Composition.uniform(200))


def test_an_expert_larger_than_hbm_is_refused():
    with pytest.raises(CapacityError, match=r"'big'.*bytes of HBM"):
        sn40l_node().require(Composition([Expert("big", 500e9)], Router()))
    sn40l_node().require(Composition([Expert("big", 498e9)], Router()))


@pytest.mark.parametrize("name", PLATFORMS)
def test_every_platform_knows_both_run_lengths(name):
    platform = PLATFORMS[name]()
    expert = Composition.uniform(1).experts[0]
    assert 0 < platform.run_seconds(expert, 20) < platform.run_seconds(expert, 200)


def test_a_platform_of_an_emulated_node():
    ours = Platform.of_node(rdu.sn40l_node(8), [(200, 0.4), (20, 0.07)], 14e9)
    shipped = sn40l_node()
    assert ours.switch == shipped.switch
    assert ours.hbm_bytes == 512 * 2**30
    assert ours.capacity_bytes == 12 * 2**40
    assert ours.hbm.bytes_per_second == pytest.approx(shipped.hbm.bytes_per_second)
    assert ours.runs == ((20, 0.07), (200, 0.4))
    faster = rdu.sn40l_node(4)
    chip = faster.chip.with_changes(ddr_to_hbm_gb_per_s=500.0)
    four = Platform.of_node(rdu.Node(chip, 4, faster.p2p_gb_per_s), [(20, 0.1)], 14e9)
    assert four.switch_seconds(14e9) == pytest.approx(7e-3)
    with pytest.raises(SpecError, match="at least one run time"):
        Platform.of_node(faster, [], 14e9)
