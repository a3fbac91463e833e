"""Recalls as plain text for a terminal. Pure."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Final

from cogs.memory.surface.page import Page, footer, match_line
from cogs.memory.surface.recall.search_state import Search
from cogs.memory.surface.texts import ENGLISH

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cogs.memory.recall_records import Recall, RecalledMessage
    from cogs.memory.surface.texts import Texts

WIDTH: Final = 100
MAX_LINES: Final = 6
"""Lines shown of one message."""


def console_text(
    recall: Recall,
    channels: Mapping[int, str],
    *,
    neighbours: bool = False,
    width: int = WIDTH,
    texts: Texts = ENGLISH,
) -> str:
    """Return an answer as text that ends with a new line.

    Args:
        recall: what was found.
        channels: the names of channels by id.
        neighbours: show what was said just before and after as well.
        width: columns of the terminal.
        texts: the language.
    """
    page = Page(Search(recall.query), recall.results, recall.trace, is_indexing=recall.trace.unembedded > 0)
    lines: list[str] = []
    for result in recall.results:
        lines += [*_result_lines(result, channels, width, texts, neighbours=neighbours), ""]
    if not recall.results:
        lines += [texts.nothing_relevant, ""]
    return "\n".join([*lines, footer(page, texts), ""])


def _result_lines(
    result: RecalledMessage, channels: Mapping[int, str], width: int, texts: Texts, *, neighbours: bool
) -> list[str]:
    message = result.message
    channel = channels.get(message.channel_id, str(message.channel_id))
    head = f"{result.rank}. {message.author_name} in #{channel}, {message.created_at:%Y-%m-%d %H:%M}"
    lines = [f"{head}   {match_line(result, texts)}"]
    if neighbours:
        lines += [_around(before.author_name, before.text, width) for before in result.before]
    lines += _wrapped(message.content or ", ".join(message.attachments) or message.extra, width)
    if neighbours:
        lines += [_around(after.author_name, after.text, width) for after in result.after]
    return lines


def _wrapped(text: str, width: int) -> list[str]:
    wrapped = [
        line
        for paragraph in text.splitlines()
        for line in textwrap.wrap(paragraph, max(20, width - 3), break_on_hyphens=False) or [""]
    ]
    shown = wrapped[:MAX_LINES]
    if len(wrapped) > MAX_LINES:
        shown[-1] += " …"
    return [f"   {line}" for line in shown]


def _around(name: str, text: str, width: int) -> str:
    return "   │ " + textwrap.shorten(f"{name}: {text}", max(20, width - 5), placeholder=" …")
