"""Every intermediate program of a kernel as a text file, for ``options(dump=...)``."""

from __future__ import annotations

from pathlib import Path

from sparsedsl.contraction.text import statement_text
from sparsedsl.explain.plans import iteration_space, plan_text
from sparsedsl.loops.text import kernel as loops_text
from sparsedsl.pipeline.stages import Unit


def dump(unit: Unit, name: str, directory: str) -> None:
    """Write statements, iteration space, plan, loops and source, in the order they are made.

    Raises OSError when the directory cannot be made or written to.
    """
    stages = {
        "1-statements.txt": "\n".join(
            statement_text(s) for part in unit.turn for s in part.group.statements
        ),
        "2-space.txt": "\n".join(iteration_space(part.nest) for part in unit.turn),
        "3-plan.txt": plan_text(unit),
        "4-loops.txt": loops_text(unit.kernel),
        "5-source.py": unit.source,
    }
    place = Path(directory)
    place.mkdir(parents=True, exist_ok=True)
    for ending, text in stages.items():
        (place / f"k_{name[:12]}.{ending}").write_text(f"{text.rstrip()}\n", encoding="utf-8")
