"""Names and dates, as typed on a command line, to a `Scope`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cogs.memory.exceptions import InvalidQuery
from cogs.memory.natural_dates import parse_span
from cogs.memory.query_terms import split_words
from cogs.memory.records import Scope

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cogs.memory.memory_service import MemoryService
    from cogs.memory.records import ChannelInfo
    from profiles import Settings

SHOWN = 8
"""Known names listed when one is not known."""


def require_memory(settings: Settings) -> None:
    """Refuse to look into a data folder that is not there, before it is made. Raises InvalidQuery."""
    if not settings.databases and not Path(settings.memory_data).exists():
        raise InvalidQuery(
            f"There is no data folder {settings.memory_data}. Import an export first: bot.py import FILE… "
            "(or try the sample server: bot.py console)."
        )


async def resolve_scope(
    memory: MemoryService,
    guild_id: int,
    *,
    author: str | None = None,
    channel: str | None = None,
    after: str | None = None,
    before: str | None = None,
) -> Scope:
    """Return the scope of the machine's owner: every channel of the guild, narrowed by what was asked.

    Raises:
        InvalidQuery: a name or a date is not understood; the sentence lists what is known.
    """
    start, end = parse_span(after, before)
    channels = await memory.store.channels(guild_id)
    chosen = {c.id for c in channels} if channel is None else _channels_named(channels, channel)
    return Scope(
        guild_id=guild_id,
        channel_ids=frozenset(chosen),
        author_ids=None if author is None else await _authors_named(memory, guild_id, author),
        after=start,
        before=end,
    )


def _channels_named(channels: Iterable[ChannelInfo], name: str) -> set[int]:
    wanted = name.removeprefix("#").casefold()
    found = {c.id for c in channels if c.name.casefold() == wanted or str(c.id) == wanted}
    if not found:
        raise InvalidQuery(f"No channel is called {name}. {_known(c.name for c in channels)}")
    return found


async def _authors_named(memory: MemoryService, guild_id: int, name: str) -> frozenset[int]:
    wanted = name.removeprefix("@").casefold()
    authors = await memory.store.authors(guild_id)
    exact = {i for i, names in authors.items() if wanted in (n.casefold() for n in names) or str(i) == wanted}
    words = set(split_words(wanted))
    found = exact or {i for i, names in authors.items() if words and words <= set(split_words(" ".join(names)))}
    if not found:
        raise InvalidQuery(f"Nobody is called {name}. {_known(names[0] for names in authors.values())}")
    return frozenset(found)


def _known(names: Iterable[str]) -> str:
    known = sorted({name for name in names if name}, key=str.casefold)
    more = f" and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
    return f"Known: {', '.join(known[:SHOWN])}{more}." if known else "None is known yet."
