"""Memory tiers and the links between them.

A tier holds bytes at a bandwidth and a latency; a link moves bytes between two tiers, or
between sockets. The same two classes serve the chip's three tiers (SRAM, HBM, DDR) and the
host and peer links of a node.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TypeGuard

from rdu.errors import CapacityError, SpecError


def positive(owner: str, **values: object) -> None:
    """Check that every value is a finite number above zero.

    Raises
    ------
    SpecError
        Naming ``owner``, the key and the value found.
    """
    for key, value in values.items():
        if not (_finite(value) and value > 0):
            raise SpecError(f"{owner}: {key} must be a finite number above 0, found {value!r}")


def not_negative(owner: str, **values: object) -> None:
    """Check that every value is a finite number of at least zero.

    Raises
    ------
    SpecError
        Naming ``owner``, the key and the value found.
    """
    for key, value in values.items():
        if not (_finite(value) and value >= 0):
            raise SpecError(f"{owner}: {key} must be finite and at least 0, found {value!r}")


def counts(owner: str, **values: object) -> None:
    """Check that every value is a whole number from 1.

    Raises
    ------
    SpecError
        Naming ``owner``, the key and the value found.
    """
    for key, value in values.items():
        if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
            raise SpecError(f"{owner}: {key} must be a whole number from 1, found {value!r}")


def _finite(value: object) -> TypeGuard[float]:
    return not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value)


@dataclass(frozen=True, slots=True)
class Tier:
    """One level of the memory hierarchy.

    Parameters
    ----------
    name:
        ``"sram"``, ``"hbm"``, ``"ddr"``, ``"host"`` or any other label.
    capacity_bytes:
        How much it holds.
    bytes_per_second:
        Its peak bandwidth.
    latency_seconds:
        Time until the first byte of one access.

    Examples
    --------
    >>> hbm = Tier("hbm", 64e9, 1.8e12)
    >>> round(hbm.seconds(18e9), 6)
    0.01
    """

    name: str
    capacity_bytes: float
    bytes_per_second: float
    latency_seconds: float = 0.0

    def __post_init__(self) -> None:
        positive(
            f"tier {self.name!r}",
            capacity_bytes=self.capacity_bytes,
            bytes_per_second=self.bytes_per_second,
        )
        not_negative(f"tier {self.name!r}", latency_seconds=self.latency_seconds)

    def seconds(self, count: float) -> float:
        """Time to read or write ``count`` bytes; 0 for none."""
        return self.latency_seconds + count / self.bytes_per_second if count else 0.0

    def require(self, count: float, what: str) -> None:
        """Check that ``count`` bytes fit.

        Raises
        ------
        CapacityError
            Naming ``what``, this tier and by how many bytes it does not fit.
        """
        if count > self.capacity_bytes:
            raise CapacityError(
                f"{what} needs {count:,.0f} bytes of {self.name}, which holds "
                f"{self.capacity_bytes:,.0f}: {count - self.capacity_bytes:,.0f} bytes too many"
            )


@dataclass(frozen=True, slots=True)
class Link:
    """``lanes`` equal links that share one transfer evenly.

    Examples
    --------
    >>> pcie = Link("pcie", 32e9, lanes=1)
    >>> pcie.seconds(14e9)
    0.4375
    """

    name: str
    lane_bytes_per_second: float
    lanes: int = 1
    latency_seconds: float = 0.0

    def __post_init__(self) -> None:
        owner = f"link {self.name!r}"
        positive(owner, lane_bytes_per_second=self.lane_bytes_per_second)
        counts(owner, lanes=self.lanes)
        not_negative(owner, latency_seconds=self.latency_seconds)

    @property
    def bytes_per_second(self) -> float:
        """Bandwidth of all lanes together."""
        return self.lane_bytes_per_second * self.lanes

    def seconds(self, count: float) -> float:
        """Time to move ``count`` bytes; 0 for none."""
        return self.latency_seconds + count / self.bytes_per_second if count else 0.0
