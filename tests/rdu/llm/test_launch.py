import pytest

from rdu.errors import MappingError
from rdu.llm import config_bytes, launch_seconds
from rdu.specs import sn40l_node

CHIP = sn40l_node().chip.with_changes(
    host_launch_us=5.0,
    hardware_launch_us=0.1,
    argument_load_us=0.5,
    pcu_config_kib=2.0,
    pmu_config_kib=1.0,
    config_load_gb_per_s=1.024,
    hbm_tb_per_s=1.024,
)


def test_closed_forms():
    program = config_bytes(CHIP, 10, 20)
    assert program == 40 * 1024
    assert launch_seconds(CHIP, program, "software") == pytest.approx(5.5e-6 + 40e-6)
    assert launch_seconds(CHIP, program, "software", loaded=True) == pytest.approx(45.5e-6)
    assert launch_seconds(CHIP, program, "hardware") == pytest.approx(0.6e-6 + 0.04e-6)
    assert launch_seconds(CHIP, program, "hardware", loaded=True) == pytest.approx(0.6e-6)


def test_unknown_orchestration():
    with pytest.raises(MappingError, match="unknown orchestration 'magic'"):
        launch_seconds(CHIP, 1.0, "magic")
