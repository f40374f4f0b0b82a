"""A user's composition in TOML: a router, and experts of different sizes.

[router]              # may be left out: the paper's, of 14 GB
weight_gb = 2.0
run_ms = 5.0

[[expert]]
name = "code"
weight_gb = 14.0
count = 20            # code0, code1, ...

[[expert]]
name = "translation"
weight_gb = 70.0
state_gb = 1.0        # copied back when it gives way
run_ms = 180.0        # of one prompt; the platform's in proportion to the size without
probability = 0.05    # share of the requests, read by the policy of that name
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from rdu.coe.parts import Composition, Expert, Router
from rdu.coe.tables import amount, read_toml, section, text, whole
from rdu.errors import SpecError

_ROUTER = ("name", "weight_gb", "cache_gb", "run_ms", "output_tokens")
_EXPERT = ("state_gb", "run_ms", "probability", "count")


def read_composition(path: str | Path) -> Composition:
    """Read a composition; sizes in GB of 1e9 bytes, times in ms.

    Raises
    ------
    SpecError
        Naming the file and the key that is unknown, missing or senseless.
    """
    where = str(path)
    top = section(read_toml(path, "composition"), "", where, ("expert",), ("router",))
    listed = top["expert"]
    if not isinstance(listed, list):
        raise SpecError(f"{where}: expert must be an array of tables [[expert]], found {listed!r}")
    try:
        experts = [
            expert for table in cast("list[Any]", listed) for expert in _experts(table, where)
        ]
        return Composition(experts, _router(top.get("router", {}), where))
    except SpecError as error:
        told = error.message if error.message.startswith(where) else f"{where}: {error.message}"
        raise SpecError(told, hint=error.hint) from None


def _router(data: object, where: str) -> Router:
    table = section(data, "router", where, (), _ROUTER)
    given = {
        "name": text(table, "router.name", where) if "name" in table else None,
        "weight_bytes": _scaled(table, "router.weight_gb", where, 1e9),
        "cache_bytes": _scaled(table, "router.cache_gb", where, 1e9),
        "run_seconds": _scaled(table, "router.run_ms", where, 1e-3),
        "output_tokens": (
            whole(table, "router.output_tokens", where) if "output_tokens" in table else None
        ),
    }
    return Router(**{key: cast("Any", value) for key, value in given.items() if value is not None})


def _experts(data: object, where: str) -> list[Expert]:
    """One expert, or ``count`` alike with a number behind the name."""
    table = section(data, "expert", where, ("name", "weight_gb"), _EXPERT)
    name = text(table, "expert.name", where)
    count = whole(table, "expert.count", where) if "count" in table else None
    if count is not None and count > 1_000_000:
        raise SpecError(f"{where}: expert.count must be at most 1,000,000, found {count}")
    names = [name] if count is None else [f"{name}{n}" for n in range(count)]
    weight = 1e9 * amount(table, "expert.weight_gb", where, zero=False)
    share = _scaled(table, "expert.probability", where, 1.0)
    return [
        Expert(
            one,
            weight,
            _scaled(table, "expert.state_gb", where, 1e9) or 0.0,
            _scaled(table, "expert.run_ms", where, 1e-3),
            None if share is None else share / len(names),
        )
        for one in names
    ]


def _scaled(table: Mapping[str, Any], path: str, where: str, scale: float) -> float | None:
    """An amount in basic units, or ``None`` where it is not given."""
    return scale * amount(table, path, where) if path.rsplit(".", 1)[-1] in table else None
