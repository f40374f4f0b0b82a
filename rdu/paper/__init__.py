"""The paper's tables and figures beside this package's numbers.

>>> from rdu import paper
>>> row = paper.table("V")[0]
>>> row.name, row.paper, round(row.ours, 2), row.kind
('overall bs8 20 tokens', 6.6, 6.64, 'arithmetic')
"""

from __future__ import annotations

from rdu.errors import SpecError
from rdu.paper.rows import Kind, Row, render

__all__ = ["FIGURES", "TABLES", "Kind", "Row", "figure", "render", "runs", "table"]

TABLES = ("I", "IV", "V")
FIGURES = (1, 10, 11, 12, 13)


def table(number: str) -> list[Row]:
    """Rows of table ``"I"``, ``"IV"`` or ``"V"``.

    Raises
    ------
    SpecError
        For any other number.
    """
    match number:
        case "I":
            from rdu.paper.intensity import table_1

            return table_1()
        case "IV":
            from rdu.paper.language import table_4

            return table_4()
        case "V":
            from rdu.paper.experts import table_5

            return table_5()
        case _:
            raise SpecError(f"no table {number!r} here", hint=f"there are {', '.join(TABLES)}")


def figure(number: int) -> list[Row]:
    """Rows of figure 1, 10, 11, 12 or 13.

    Raises
    ------
    SpecError
        For any other number.
    """
    match number:
        case 1:
            from rdu.paper.experts import figure_1

            return figure_1()
        case 10:
            from rdu.paper.language import figure_10

            return figure_10()
        case 11:
            from rdu.paper.language import figure_11

            return figure_11()
        case 12:
            from rdu.paper.experts import figure_12

            return figure_12()
        case 13:
            from rdu.paper.experts import figure_13

            return figure_13()
        case _:
            raise SpecError(
                f"no figure {number!r} here", hint=f"there are {', '.join(map(str, FIGURES))}"
            )


def runs() -> list[Row]:
    """Rows beside the figures: expert runs and decoder kernels from the model, a slide's switch.

    The 200-token value compared with is the nearest one that table V leaves possible.
    """
    from rdu.paper.experts import slide_switch
    from rdu.paper.language import decoder_kernels, expert_runs

    return [*expert_runs(), *decoder_kernels(), slide_switch()]
