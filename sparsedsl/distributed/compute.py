"""``compute``: one kernel over the workers of a Dask client.

Takes: a kernel, arguments, a client.  Gives: what the kernel gives.  Invariant: tasks are pure
and carry their blocks, so that Dask runs those of a lost worker again.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from sparsedsl.contraction.operators import MONOIDS
from sparsedsl.distributed.split import Split, bounds, cut, joined, split_of, work
from sparsedsl.errors import NotationError, PlanError
from sparsedsl.interop import asarray
from sparsedsl.kernel import Kernel, packed, unpacked
from sparsedsl.layouts.levels import total
from sparsedsl.operators import elementwise
from sparsedsl.options import options
from sparsedsl.runtime.tensor import Tensor

SMALL = 1 << 20
"""Bytes up to which a block travels with its task; a larger operand is sent once to all."""


def compute(
    kernel: Kernel,
    *args: Any,
    client: Any,
    split: str,
    blocks: int | None = None,
    lazy: bool = False,
) -> Any:
    """Compute a kernel over a Dask cluster, in blocks of one index.

    Arguments that the index subscripts are cut along it, in their own layouts, so that blocks
    store about as many entries each; the others are sent to every worker.  Where the index is
    one of the result's the blocks are joined, where it is summed they are combined pairwise,
    as a tree.  Blocks of a worker that is lost are computed again by others.

    Parameters
    ----------
    kernel:
        A kernel of one statement.
    args:
        As the kernel takes them.  A ``dask.array`` (with dense or scipy sparse blocks) is
        never gathered: its chunks along the index are the blocks.
    client:
        A ``distributed.Client``.
    split:
        The name of the index.
    blocks:
        How many; by default four a thread of the cluster.
    lazy:
        Return a ``dask.array`` of the result's blocks, dense or scipy sparse; only where
        ``split`` is an index of the result.

    Raises
    ------
    PlanError
        For a kernel that cannot be split along the index.
    NotationError
        For arguments that do not fit the kernel.

    Examples
    --------
    ``sd.distributed.compute(spmv, A, x, client=Client(), split="i")``
    """
    if not isinstance(kernel, Kernel):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise NotationError(f"expected a kernel, found {type(kernel).__name__}")
    if not hasattr(client, "nthreads") or not hasattr(client, "submit"):
        raise PlanError(
            f"expected client= to be a distributed.Client, found {type(client).__name__}",
            hint="from distributed import Client; client = Client() starts a cluster here",
        )
    given = [x if _is_dask(x) else asarray(x) for x in args]
    program = kernel.contraction(*(_example(x) for x in given)).program
    names = [t.name for t in program.inputs]
    plan = split_of(program, split)
    if lazy and plan.joined is None:
        raise PlanError(f"'{split}' is summed: the result has no blocks to be lazy about")
    cuts = _cuts(plan, names, given, blocks or 4 * max(sum(client.nthreads().values()), 1))
    code = packed(kernel)
    scipys = all(_is_dask(x) or type(x).__module__.startswith("scipy") for x in args if _sparse(x))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sending large graph")
        parts = [_parts(client, plan, n, x, cuts) for n, x in zip(names, given, strict=True)]
        futures = [
            client.submit(_run, code, scipys, *(p[n] for p in parts), pure=False)
            for n in range(len(cuts) - 1)
        ]
    try:
        if plan.joined is None:
            return _combined(client, futures, plan.monoid).result()
        if lazy:
            return _array(futures, plan.joined, client)
        return _joined(client.gather(futures), plan.joined)
    except BaseException:
        # a gathering that is interrupted goes on in the client's thread, and holds its futures
        client.cancel(futures)
        raise


def _is_dask(x: Any) -> bool:
    return type(x).__module__.startswith("dask.array")


def _issparse(x: Any) -> bool:
    return type(x).__module__.startswith("scipy.sparse")


def _sparse(x: Any) -> bool:
    return not isinstance(x, np.ndarray) and not np.isscalar(x)


def _example(x: Any) -> Any:
    """Something of the same order, dtype and kind as an argument, to trace the kernel with."""
    if not _is_dask(x):
        return x
    if _issparse(x._meta):
        return type(x._meta)(x.shape, dtype=x.dtype)
    return np.broadcast_to(np.zeros((), x.dtype), x.shape)


def _cuts(plan: Split, names: Sequence[str], given: Sequence[Any], blocks: int) -> list[int]:
    """Bounds along the index: those of dask chunks if there are any, else by work."""
    own = {n: x for n, x in zip(names, given, strict=True) if n in plan.modes}
    chunked = [x.chunks[plan.modes[n]] for n, x in own.items() if _is_dask(x)]
    if chunked:
        return [0, *(int(end) for end in np.cumsum(chunked[0]))]
    weights = sum(work(x, plan.modes[n]) for n, x in own.items())
    return bounds(np.asarray(weights), blocks)


def _parts(client: Any, plan: Split, name: str, x: Any, cuts: list[int]) -> list[Any]:
    """An argument for each block: its own piece, or the whole for all."""
    count = len(cuts) - 1
    if name not in plan.modes:
        whole = client.persist(x.rechunk(x.shape)) if _is_dask(x) else x
        if _is_dask(x):
            return [client.compute(whole.to_delayed().ravel()[0])] * count
        size = sum(a.nbytes for a in whole.arrays.values())
        # a task that returns it, not scattered data: that of a lost worker could not be made again
        sent = client.submit(_itself, whole, pure=False) if size > SMALL else whole
        return [sent] * count
    mode = plan.modes[name]
    if _is_dask(x):
        chunks = dict.fromkeys(range(x.ndim), -1) | {mode: tuple(np.diff(cuts).tolist())}
        pieces = x.rechunk(chunks).to_delayed().ravel()
        return [client.compute(piece) for piece in pieces]
    return list(cut(x, mode, cuts))


def _itself(x: Any) -> Any:
    return x


def _run(code: bytes, scipys: bool, *args: Any) -> Any:
    """Compute one block, on a worker."""
    given = [_plain(x) for x in args]
    with options(threads=1):
        found = unpacked(code)(*given)
    fits = isinstance(found, Tensor) and found.ndim == 2 and not found.fill_value
    return found.to_scipy() if scipys and fits else found


def _plain(x: Any) -> Any:
    return x.to_numpy() if isinstance(x, Tensor) and total(x.layout) else x


def _combined(client: Any, futures: list[Any], monoid: str) -> Any:
    """Combine pairwise until one is left."""
    while len(futures) > 1:
        pairs = zip(futures[::2], futures[1::2], strict=False)
        left = futures[len(futures) - len(futures) % 2 :]
        futures = [client.submit(_pair, monoid, a, b, pure=False) for a, b in pairs] + left
    return futures[0]


def _pair(monoid: str, a: Any, b: Any) -> Any:
    if isinstance(a, np.ndarray | np.generic) and isinstance(b, np.ndarray | np.generic):
        return MONOIDS[monoid].ufunc(a, b)
    found = elementwise(MONOIDS[monoid].operator, asarray(a), asarray(b))
    return found.to_scipy() if _issparse(a) and isinstance(found, Tensor) else found


def _joined(blocks: Sequence[Any], mode: int) -> Any:
    if all(isinstance(b, np.ndarray) for b in blocks):
        return np.concatenate(blocks, axis=mode)
    whole = joined([asarray(b) for b in blocks], mode)
    return whole.to_scipy() if all(_issparse(b) for b in blocks) else whole


def _array(futures: Sequence[Any], mode: int, client: Any) -> Any:
    """A dask array whose blocks the futures compute."""
    import dask.array as da
    from dask.delayed import delayed

    described = client.gather([client.submit(_described, f, pure=False) for f in futures])
    made = [
        da.from_delayed(delayed(future), shape=shape, dtype=dtype, meta=meta)
        for future, (shape, dtype, meta) in zip(futures, described, strict=True)
    ]
    return da.concatenate(made, axis=mode, allow_unknown_chunksizes=True)


def _described(block: Any) -> tuple[Any, Any, Any]:
    """Shape, dtype and an empty example of a block."""
    if _issparse(block):
        return block.shape, block.dtype, type(block)((0, 0), dtype=block.dtype)
    return block.shape, block.dtype, np.empty((0,) * block.ndim, block.dtype)
