"""Kernels over a Dask cluster: blocks of one index, balanced by work (extra ``distributed``)."""

from sparsedsl.distributed.compute import compute

__all__ = ["compute"]
