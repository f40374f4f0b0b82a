"""``python -m rdu``."""

from __future__ import annotations

from rdu.cli import main

main()
