"""``bot.py recall QUERY``: one question from the command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cogs.memory.exceptions import InvalidQuery
from cogs.memory.surface.cli.import_command import guild_names
from cogs.memory.surface.cli.lookup import resolve_scope
from cogs.memory.surface.cli.model_at_hand import wait_for_model
from cogs.memory.surface.cli.output import console
from cogs.memory.surface.console_text import console_text

if TYPE_CHECKING:
    import argparse

    from cogs.memory.memory_service import MemoryService
    from cogs.memory.recall_records import Recall, RecalledMessage
    from cogs.memory.reranker_service import Order


async def recall_once(memory: MemoryService, arguments: argparse.Namespace) -> int:
    """Answer one question; return the exit code."""
    guild_id = await choose_guild(memory, arguments.guild)
    scope = await resolve_scope(
        memory,
        guild_id,
        author=arguments.author,
        channel=arguments.channel,
        after=arguments.after,
        before=arguments.before,
    )
    order: Order | None = "rrf" if arguments.no_rerank else None
    if order is None:
        await wait_for_model(memory)
    recall = await memory.recall(arguments.query, scope, limit=arguments.limit, order=order)
    channels = {c.id: c.name for c in await memory.store.channels(guild_id)}
    if arguments.json:
        console.print_json(json.dumps(recall_json(recall, channels), ensure_ascii=False))
    else:
        console.print(console_text(recall, channels), end="", markup=False)
    return 0


async def choose_guild(memory: MemoryService, wanted: str | None = None) -> int:
    """Return the guild to search: the one asked for, or the only one. Guilds of a bot have no name here, only an id.

    Raises:
        InvalidQuery: there is none, several and none was named, or none of the name.
    """
    imported = await guild_names(memory)
    names = {guild_id: imported.get(guild_id, "") for guild_id in (await memory.stats()).guild_ids}
    if not names:
        raise InvalidQuery("The memory is empty. Import an export first: bot.py import FILE…")
    if wanted is None and len(names) == 1:
        return next(iter(names))
    found = [i for i, name in names.items() if wanted and wanted.casefold() in (name.casefold(), str(i))]
    if len(found) != 1:
        known = ", ".join(f"{name} ({guild_id})" if name else str(guild_id) for guild_id, name in names.items())
        if wanted and not found:
            raise InvalidQuery(f"No server is called {wanted}. Known: {known}")
        raise InvalidQuery(f"Name a server with --guild, or /server in the console: {known}")
    return found[0]


def recall_json(recall: Recall, channels: dict[int, str]) -> dict[str, Any]:
    """Return an answer as plain JSON data."""
    trace = recall.trace
    return {
        "query": recall.query,
        "results": [_result_json(result, channels) for result in recall.results],
        "trace": {
            "stages": [{"name": s.name, "ms": round(s.milliseconds, 2), "count": s.count} for s in trace.stages],
            "candidates": trace.candidates,
            "reranker": trace.reranker,
            "reranked": trace.reranked,
            "rerank_of": trace.rerank_of,
            "total_ms": round(trace.total_ms, 2),
            "cached": trace.cached,
            "degraded": list(trace.degraded),
            "reaches_back_to": trace.reaches_back_to.isoformat() if trace.reaches_back_to else None,
            "index_ready": trace.index_ready,
        },
    }


def _result_json(result: RecalledMessage, channels: dict[int, str]) -> dict[str, Any]:
    message = result.message
    return {
        "rank": result.rank,
        "id": str(message.id),
        "guild_id": str(message.guild_id),
        "channel_id": str(message.channel_id),
        "channel": channels.get(message.channel_id, ""),
        "author_id": str(message.author_id),
        "author": message.author_name,
        "created_at": message.created_at.isoformat(),
        "content": message.content,
        "attachments": list(message.attachments),
        "jump_url": f"https://discord.com/channels/{message.guild_id}/{message.channel_id}/{message.id}",
        "score": result.score,
        "relevance": result.relevance,
        "vector_score": result.vector_score,
        "keyword_score": result.keyword_score,
        "late_interaction_score": result.late_interaction_score,
        "rerank_score": result.rerank_score,
        "rerank_log_odds": result.rerank_log_odds,
        "duplicates": result.duplicates,
        "before": [{"author": m.author_name, "content": m.content} for m in result.before],
        "after": [{"author": m.author_name, "content": m.content} for m in result.after],
    }
