"""Conversions between layouts, compiled: count, prefix sum, scatter; sort only where proof fails.

Takes: arrays under one layout.  Gives: arrays under another.  The order in which a scan of the
source meets entries and the order the target wants follow from their specifications; isl proves
where one implies the other, and what it does not prove is established by stable counting passes.
"""

from sparsedsl.conversion.run import convert

__all__ = ["convert"]
