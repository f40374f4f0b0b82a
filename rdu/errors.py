"""The exception tree of the emulator.

    RDUError
    ├── SpecError        a chip, node or platform file that cannot be used        (ValueError)
    ├── MappingError     a graph that does not map onto the chip                  (ValueError)
    ├── CapacityError    data or experts that do not fit a memory tier            (ValueError)
    └── DeadlockError    a simulation whose channels block each other             (RuntimeError)

Every message says what was expected, what was found, where, and what to do.
"""

from __future__ import annotations


class RDUError(Exception):
    """Root of every error the emulator raises.

    Parameters
    ----------
    message:
        One sentence: what was expected and what was found.
    hint:
        What to do about it, if known.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        self.message = message
        self.hint = hint
        super().__init__(message)

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\nhint: {self.hint}"


class SpecError(RDUError, ValueError):
    """A chip, node or platform file with an unknown key, a wrong unit or a senseless value."""


class MappingError(RDUError, ValueError):
    """A graph that does not map onto the chip; the message names what did not fit."""


class CapacityError(RDUError, ValueError):
    """Data that does not fit a memory tier; the message says what, where and by how many bytes."""


class DeadlockError(RDUError, RuntimeError):
    """A simulation in which no unit can proceed; the message names the blocked channels."""
