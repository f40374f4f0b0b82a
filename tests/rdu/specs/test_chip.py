from pathlib import Path

import pytest

import rdu
from rdu.specs import chip as chip_module

SN40L = Path(chip_module.__file__).parent / "sn40l.toml"


def test_published_numbers():
    chip = rdu.sn40l_node().chip
    assert (chip.pcus, chip.pmus) == (1040, 1040)
    assert chip.peak_tflops == pytest.approx(638, rel=0.005)
    assert chip.sram_bytes == 520 * 2**20
    assert chip.hbm_bytes == 64 * 2**30
    assert chip.hbm_bytes_per_cycle * chip.clock_ghz * 1e9 == pytest.approx(1.8e12)
    assert rdu.sn40l_node(sockets=16).sockets == 16


def test_seconds_and_cycles_agree():
    chip = rdu.sn40l_node().chip
    assert chip.cycles(chip.seconds(12345)) == 12345
    assert chip.cycles(0.0) == 0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("pcus = 1040 ", "pcu = 1040 ", "did you mean 'pcus'"),
        ("clock_ghz = 1.6", "clock_mhz = 1600.0", "clock_ghz"),
        ("pmu_kib = 512", "pmu_kib = -1", "pmu_kib must be finite and above 0, found -1"),
        ("pmu_kib = 512", "pmu_kib = 0.5", "whole number"),
        ("pmu_kib = 512", 'pmu_kib = "512"', "must be a number"),
        ("pmu_kib = 512", "pmu_kib = true", "must be a number"),
        ("hbm_tb_per_s = 1.8", "hbm_tb_per_s = nan", "finite"),
        ("hbm_tb_per_s = 1.8", "", "missing key 'hbm_tb_per_s'"),
        ("pcus = 1040 ", "pcus = 1041 ", "do not fit a mesh of 26 x 40 = 1040 sites"),
        ("[network]", "[networks]", "did you mean [network]"),
        ("[network]", "[network", "not valid TOML"),
        ("pmus = 1040 ", "pmus = 1040\nfifo_depth = 3 ", "given twice"),
        ("sockets = 8", "sockets = 0", "sockets must be"),
        ("hbm_gib = 64.0", "hbm_gib = 1e300", "hbm_gib must be at most 1e+15"),
        ("hbm_tb_per_s = 1.8", "hbm_tb_per_s = 1e-30", "bytes a cycle, expected from"),
        ("clock_ghz = 1.6", "clock_ghz = 1e15", "at clock_ghz = 1e+15 is 1.8e-12 bytes a cycle"),
        ("ddr_gb_per_s = 200.0", "ddr_gb_per_s = 1e-9", "ddr_gb_per_s at clock_ghz = 1.6"),
        ("p2p_gb_per_s = 100.0", "p2p_gb_per_s = 1e-9", "p2p_gb_per_s at clock_ghz = 1.6"),
        ("[chip]", "chip = 3\n[unit]", "[chip] must be a table, found 3"),
    ],
)
def test_bad_specs_are_refused(tmp_path, old, new, message):
    text = SN40L.read_text()
    assert old in text
    path = tmp_path / "chip.toml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(rdu.SpecError) as caught:
        rdu.Node.from_toml(path)
    assert message in str(caught.value)
    assert "chip.toml" in str(caught.value)


def test_missing_file(tmp_path):
    with pytest.raises(rdu.SpecError, match="cannot read"):
        rdu.Chip.from_toml(tmp_path / "absent.toml")


def test_with_changes_checks_again():
    chip = rdu.sn40l_node().chip
    assert chip.with_changes(pmu_kib=256).sram_bytes == chip.sram_bytes // 2
    with pytest.raises(rdu.SpecError):
        chip.with_changes(pmu_kib=0)
    with pytest.raises(rdu.SpecError, match="unknown field"):
        chip.with_changes(pmu_kb=1)


def test_every_line_of_the_spec_names_its_source():
    for line in SN40L.read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            assert "#" in line, line
