"""What the query cache tells of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cogs.memory.query_cache import QueryCache

if TYPE_CHECKING:
    from tests.virtual_time import VirtualTime


def test_it_counts_what_was_found_what_made_room_and_what_grew_old(clock: VirtualTime) -> None:
    cache = QueryCache(2, ttl_s=60, clock=clock)
    for key in "abc":
        assert cache.get(1, key) is None
        cache.put(1, cache.generation(1), key, f"answer to {key}")
    assert cache.get(1, "c") == "answer to c"
    assert cache.get_statistics() == {
        "query_cache_hits": 1,
        "query_cache_misses": 3,
        "query_cache_evictions": 1,
        "query_cache_expired": 0,
        "query_cache_hit_rate": 0.25,
        "query_cache_size": 2,
    }
    clock.sleep(61)
    figures = cache.get_statistics()
    assert (figures["query_cache_expired"], figures["query_cache_size"]) == (2, 0)


def test_to_forget_all_answers_is_no_eviction_and_leaves_the_counts() -> None:
    cache = QueryCache(2, ttl_s=60)
    for key in "abc":
        cache.put(1, cache.generation(1), key, key)
    cache.clear()
    figures = cache.get_statistics()
    assert (figures["query_cache_evictions"], figures["query_cache_size"]) == (1, 0)
    assert cache.get(1, "c") is None
