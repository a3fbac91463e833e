"""`VectorIndex`: nearest vectors within the channels an asker may read, in memory, with FAISS.

One index per guild, one inverted list per channel. A search scans exactly the lists of the allowed channels: it is
exhaustive within them and never touches another. Vectors are kept with 8 bits a dimension. The index is derived: it
holds nothing that the store could not give again.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import faiss as _faiss
import numpy as np

from cogs.memory.records import Hit

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

faiss: Any = _faiss  # the type stubs it brings lack half of what is used here

_FIRST_LISTS = 16

_BREADTH = 4.9
"""Components of a unit vector beyond this many standard deviations (1 / sqrt(dim)) are clipped."""


class VectorIndex:
    """Vectors of messages by guild and channel; every method may be called from any thread.

    Args:
        dim: dimensions of every vector.
    """

    def __init__(self, dim: int) -> None:
        if dim < 1:
            raise ValueError(f"dim must be positive, not {dim}")
        self.dim = dim
        self._guilds: dict[int, _GuildIndex] = {}
        # FAISS allows no search in one thread while another adds or removes.
        self._lock = threading.Lock()

    def add(
        self, guild_id: int, channel_ids: Sequence[int], ids: Sequence[int], vectors: NDArray[np.floating[Any]]
    ) -> None:
        """Add vectors (n, dim) of messages ``ids`` in ``channel_ids``, replacing those of known ids.

        Raises:
            ValueError: wrong shapes or a value that is not finite; nothing was added then.
        """
        matrix = np.ascontiguousarray(vectors, dtype=np.float32)
        if matrix.shape != (len(ids), self.dim) or len(channel_ids) != len(ids):
            raise ValueError(f"vectors must have shape ({len(ids)}, {self.dim}), not {matrix.shape}")
        if not np.isfinite(matrix).all():
            raise ValueError("a vector holds a value that is not finite")
        if not len(ids):
            return
        last = {message_id: row for row, message_id in enumerate(ids)}  # FAISS would keep both of a doubled id
        if len(last) < len(ids):
            rows = list(last.values())
            matrix, channel_ids, ids = matrix[rows], [channel_ids[row] for row in rows], list(last)
        with self._exclusive():
            if guild_id not in self._guilds:
                self._guilds[guild_id] = _GuildIndex(self.dim)
            self._guilds[guild_id].add(channel_ids, np.array(ids, dtype=np.int64), matrix)

    def remove(self, guild_id: int, ids: Iterable[int]) -> int:
        """Remove messages; unknown ids are passed over. Returns how many were there."""
        doomed = np.unique(np.fromiter(ids, dtype=np.int64))
        with self._exclusive():
            guild = self._guilds.get(guild_id)
            return guild.remove(doomed) if guild is not None and len(doomed) else 0

    def search(
        self,
        guild_id: int,
        channel_ids: Collection[int],
        vector: NDArray[np.floating[Any]],
        limit: int,
        *,
        only_ids: NDArray[np.int64] | None = None,
    ) -> list[Hit]:
        """The ``limit`` messages of the channels nearest to ``vector`` (dim,) by inner product, best first.

        ``only_ids`` narrows the search to those messages; their lists are scanned all the same.

        Raises:
            ValueError: a wrong shape or a value that is not finite.
        """
        query = np.ascontiguousarray(vector, dtype=np.float32)
        if query.shape != (self.dim,):
            raise ValueError(f"the query vector must have shape ({self.dim},), not {query.shape}")
        if not np.isfinite(query).all():
            raise ValueError("the query vector holds a value that is not finite")
        if limit < 1 or not channel_ids or (only_ids is not None and not len(only_ids)):
            return []
        with self._exclusive():
            guild = self._guilds.get(guild_id)
            return [] if guild is None else guild.search(channel_ids, query, limit, only_ids)

    def clear(self, guild_id: int | None = None) -> None:
        """Forget one guild, or all."""
        with self._exclusive():
            if guild_id is None:
                self._guilds.clear()
            else:
                self._guilds.pop(guild_id, None)

    def size(self, guild_id: int | None = None) -> int:
        """Number of vectors, of one guild or of all. Waits for nothing: a search may be running."""
        guilds = [self._guilds.get(guild_id)] if guild_id is not None else list(self._guilds.values())
        return sum(guild.size for guild in guilds if guild is not None)

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        with self._lock:
            # The setting is this thread's own. A second pool of threads that spins beside the model's costs more
            # than it gains.
            faiss.omp_set_num_threads(1)
            yield


class _GuildIndex:
    """The inverted lists of one guild. Not thread-safe."""

    def __init__(self, dim: int) -> None:
        self._list_of_channel: dict[int, int] = {}
        self._quantizer = faiss.IndexFlatIP(dim)  # stays empty: the channel says which list, not a centroid
        self._index = faiss.IndexIVFScalarQuantizer(
            self._quantizer, dim, _FIRST_LISTS, faiss.ScalarQuantizer.QT_8bit_uniform, faiss.METRIC_INNER_PRODUCT, False
        )
        reach = min(1.0, _BREADTH / dim**0.5)
        value_range = faiss.Float32Vector()
        value_range.push_back(-reach)
        value_range.push_back(2 * reach)
        self._index.sq.trained = value_range
        self._index.is_trained = True
        self._index.set_direct_map_type(faiss.DirectMap.Hashtable)

    @property
    def size(self) -> int:
        return int(self._index.ntotal)

    def add(self, channel_ids: Sequence[int], ids: NDArray[np.int64], matrix: NDArray[np.float32]) -> None:
        lists = np.array([self._list(channel_id) for channel_id in channel_ids], dtype=np.int64)
        self._index.remove_ids(ids)
        pointer = faiss.swig_ptr
        self._index.add_core(len(ids), pointer(matrix), pointer(ids), pointer(lists))

    def remove(self, ids: NDArray[np.int64]) -> int:
        return int(self._index.remove_ids(ids))

    def search(
        self, channel_ids: Collection[int], query: NDArray[np.float32], limit: int, only_ids: NDArray[np.int64] | None
    ) -> list[Hit]:
        allowed = [self._list_of_channel[channel] for channel in channel_ids if channel in self._list_of_channel]
        if not allowed:
            return []
        count = min(limit, self.size)
        if not count:
            return []
        lists = np.array(allowed, dtype=np.int64)
        coarse = np.zeros(len(allowed), dtype=np.float32)
        scores = np.empty(count, dtype=np.float32)
        ids = np.empty(count, dtype=np.int64)
        parameters = faiss.SearchParametersIVF(nprobe=len(allowed))
        if only_ids is not None:
            wanted = np.ascontiguousarray(only_ids, dtype=np.int64)
            selector = faiss.IDSelectorBatch(len(wanted), faiss.swig_ptr(wanted))
            parameters.sel = selector
        pointer = faiss.swig_ptr
        # The Python wrapper of this method takes no parameters, and without them no selector.
        self._index.search_preassigned_c(
            1, pointer(query), count, pointer(lists), pointer(coarse), pointer(scores), pointer(ids), False, parameters
        )
        return [Hit(i, score) for i, score in zip(ids.tolist(), scores.tolist(), strict=True) if i >= 0]

    def _list(self, channel_id: int) -> int:
        number = self._list_of_channel.setdefault(channel_id, len(self._list_of_channel))
        if number >= self._index.nlist:
            self._double_lists()
        return number

    def _double_lists(self) -> None:
        """Move everything to twice as many lists; positions in them, and so the map from id to place, stay."""
        old = faiss.downcast_InvertedLists(self._index.invlists)
        new = faiss.ArrayInvertedLists(2 * old.nlist, old.code_size)
        for number in range(old.nlist):
            if old.list_size(number):
                new.add_entries(number, old.list_size(number), old.get_ids(number), old.get_codes(number))
        new.this.disown()
        self._index.nlist = new.nlist
        self._index.replace_invlists(new, True)
