"""What a user fixes when making a kernel, checked at once.

Takes: the keyword arguments of ``sd.kernel``.  Gives: ``Choices``, which say what the pipeline
reads.  Invariant: a choice names something that there is.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sparsedsl.contraction import nodes as ct
from sparsedsl.errors import PlanError
from sparsedsl.layouts.catalogue import resolve
from sparsedsl.layouts.layout import Layout
from sparsedsl.options import Options
from sparsedsl.pipeline.groups import Settings


@dataclass(frozen=True, slots=True)
class Choices:
    """What the user fixed when making a kernel; see ``kernel`` for the meaning of each."""

    out: Any = None
    order: str | None = None
    find: Any = "auto"
    parallel: Any = "auto"
    workspace: str = "auto"
    deterministic: bool = True
    semantics: str = "ieee"

    def __post_init__(self) -> None:
        if self.semantics not in ("ieee", "annihilator"):
            raise PlanError(
                f"expected semantics to be 'ieee' or 'annihilator', found {self.semantics!r}",
                hint="'ieee' is as dense NumPy, 'annihilator' skips implicit zeros always",
            )
        if not (self.parallel == "auto" or isinstance(self.parallel, bool)):
            raise PlanError(
                f"expected parallel to be 'auto', True or False, found {self.parallel!r}"
            )
        if not isinstance(self.deterministic, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise PlanError(
                f"expected deterministic to be True or False, found {self.deterministic!r}"
            )
        if not isinstance(self.find, str | Mapping):
            raise PlanError(
                f"expected find to be a name or a mapping from operand to name, found "
                f"{type(self.find).__name__}",
                hint='such as find="merge" or find={"B": "gallop"}',
            )
        wanted = [self.find] if isinstance(self.find, str) else list(self.find.values())
        _check_finds([name for name in wanted if name != "auto"])
        if self.order is not None and not isinstance(self.order, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise PlanError(
                f"expected order to be text, found {type(self.order).__name__}",
                hint='such as order="i k j"',
            )

    @property
    def forced(self) -> bool:
        """Whether a choice is made that ``auto`` would have made otherwise."""
        return (self.order, self.find, self.workspace) != (None, "auto", "auto")

    def layouts(self, program: ct.Program, named: Mapping[str, Any]) -> dict[str, Layout | None]:
        """Return the layout that each output is wanted in, None where any will do.

        ``named`` are those that the program itself asks for.

        Raises
        ------
        PlanError
            Where a layout is chosen for a result that there is not.
        """
        out = self.out
        for name in out if isinstance(out, Mapping) else ():
            if name not in program.results:
                raise PlanError(
                    f"out names {name!r}, which is no result; results are "
                    f"{', '.join(program.results)}"
                )
        found: dict[str, Layout | None] = {}
        for output in program.outputs:
            asked = named.get(output.name)
            if asked is None and output.name in program.results:
                asked = out.get(output.name) if isinstance(out, Mapping) else out
            found[output.name] = None if asked is None else resolve(asked, output.rank)
        return found

    def settings(self, options: Options) -> Settings:
        """Return what of it, and of the options in force, the pipeline reads."""
        find = self.find if isinstance(self.find, str) else tuple(sorted(self.find.items()))
        return Settings(
            order=None if self.order is None else tuple(self.order.split()),
            find=find,
            workspace=self.workspace,
            solver_timeout_ms=options.solver_timeout_ms,
            search_limit=options.search_limit,
            safe=options.safe,
            share=self.parallel is not False,
            tune=options.tune,
            calls=options.expected_calls,
        )


def _check_finds(names: Sequence[str]) -> None:
    """Raise PlanError for a find that there is not."""
    if not names:
        return
    from sparsedsl.find.algorithms import ALGORITHMS

    known = ("auto", *(a.name for a in ALGORITHMS))
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(str(name), known, 1)
            raise PlanError(
                f"expected find to be one of {', '.join(known)}, found {name!r}",
                hint=f"did you mean {close[0]!r}?"
                if close
                else "'auto' takes the cheapest of those that are proved to be right",
            )
