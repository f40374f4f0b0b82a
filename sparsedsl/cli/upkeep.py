"""The commands about the installation and its kept kernels."""

from __future__ import annotations

import sys
from typing import Any

import typer

from sparsedsl.console import Json, print_json, print_table, steps

upkeep = typer.Typer()
cache_app = typer.Typer(help="Kernels kept on disk.", no_args_is_help=True)
upkeep.add_typer(cache_app, name="cache")


@cache_app.command("info")
def cache_info(json: Json = False) -> None:
    """Show where kernels are kept, how many, and how much they take."""
    from sparsedsl.runtime import cache

    found = cache.info()
    record = {
        "directory": str(found.directory) if found.directory else None,
        "kernels": found.kernels,
        "entries": found.entries,
        "bytes": found.bytes,
        "limit_bytes": found.limit_bytes,
    }
    if json:
        print_json(record)
        return
    size = f"{found.bytes / 2**20:.1f} MiB of {found.limit_bytes / 2**20:.0f} MiB"
    print_table(
        [
            ("directory", str(found.directory or "none: kept in memory")),
            ("kernels", f"{found.kernels} for {found.entries} specialisations"),
            ("size", size),
        ]
    )


@cache_app.command("clear")
def cache_clear(json: Json = False) -> None:
    """Remove every kernel kept on disk."""
    from sparsedsl.runtime import cache

    removed = cache.clear()
    if json:
        print_json({"removed": removed})
    else:
        print(f"removed {removed} kernels")


@upkeep.command()
def warmup(json: Json = False) -> None:
    """Compile the usual kernels into the cache, so that first calls are quick."""
    from sparsedsl.cli.warming import USUAL, usual_kernels

    done: list[dict[str, Any]] = []
    for name, seconds in steps(usual_kernels(), len(USUAL), "compiling"):
        done.append({"kernel": name, "seconds": seconds})
        if not json:
            print(f"{seconds:6.2f} s  {name}", flush=True)
    if json:
        print_json(done)


@upkeep.command()
def doctor(json: Json = False) -> None:
    """Check the installation: versions, threads, cache, solver, compiler."""
    from sparsedsl.cli.health import checks
    from sparsedsl.options import current

    current()  # settings that cannot be read are the user's mistake, not the installation's
    records = checks()
    good = all(r["good"] for r in records)
    if json:
        print_json({"good": good, "checks": records})
    else:
        print_table([("ok" if r["good"] else "FAIL", r["name"], r["found"]) for r in records])
    if not good:
        print("error: the installation does not work; reinstall what failed", file=sys.stderr)
    raise typer.Exit(0 if good else 1)
