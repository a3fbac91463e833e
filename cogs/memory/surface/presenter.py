"""Recalls as Discord messages. Pure: knows Discord's limits and no connection; console text is in `console_text`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import discord

from cogs.memory.query_terms import parse_question, split_words
from cogs.memory.surface.markup import cut, escape, marked, never, unescape
from cogs.memory.surface.page import Face, Page, footer, match_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cogs.memory.recall_records import RecalledMessage
    from cogs.memory.records import StoredMessage
    from cogs.memory.surface.markup import IsMarked
    from cogs.memory.surface.recall.search_state import Search
    from cogs.memory.surface.texts import Texts

MAX_TOTAL: Final = 6000
"""Characters of all embeds of a message together; Discord refuses more."""
MAX_AUTHOR: Final = 256
MAX_TEXT: Final = 1200
"""Characters of one result: a page is skimmed, the message itself is a click away."""
MAX_HEADING: Final = 1000
"""Characters of the question shown above the answer."""
COLOUR: Final = discord.Colour(0x5865F2)
_HEADING: Final = re.compile(r"🔎 \*\*(?P<query>.*)\*\*")
_AVATARS: Final = "https://cdn.discordapp.com/embed/avatars/{number}.png"


def heading(search: Search, texts: Texts, guild_id: int | None = None) -> str:
    """Return the question and its filters as the content of a message; `query_in` reads the question back.

    Args:
        search: what was asked.
        texts: the language.
        guild_id: where; needed for the link to the message that a search is related to.
    """
    lines = [f"🔎 **{escape(cut(search.query, MAX_HEADING))}**"]
    if search.related_to is not None:
        lines = [f"🔎 {texts.related_to.format(link=_related_link(search, guild_id, texts))}"]
    if filters := _filters(search, texts):
        lines.append(f"-# {filters}")
    return cut("\n".join(lines), 2000)


def query_in(content: str) -> str | None:
    """Return the question that a message shows in its heading; ``None`` if it shows none, or not all of it."""
    match = _HEADING.match(content)
    if match is None:
        return None
    query = unescape(match["query"])
    return None if len(query) >= MAX_HEADING else query


def _related_link(search: Search, guild_id: int | None, texts: Texts) -> str:
    url = f"https://discord.com/channels/{guild_id}/{search.related_in}/{search.related_to}"
    return f"[{texts.this_message}](<{url}>)"


def _filters(search: Search, texts: Texts) -> str:
    parts = []
    if search.author_id is not None:
        parts.append(texts.from_author.format(author=f"<@{search.author_id}>"))
    if search.channel_id is not None:
        parts.append(texts.in_channel.format(channel=f"<#{search.channel_id}>"))
    if search.after is not None:
        parts.append(texts.after.format(when=discord.utils.format_dt(search.after, "f")))
    if search.before is not None:
        parts.append(texts.before.format(when=discord.utils.format_dt(search.before, "f")))
    if search.has is not None:
        kinds = {"link": texts.has_link, "file": texts.has_file, "image": texts.has_image, "code": texts.has_code}
        parts.append(kinds[search.has])
    if search.page:
        parts.append(texts.page.format(number=search.page + 1))
    return " · ".join(parts)


def page_embeds(page: Page, texts: Texts) -> list[discord.Embed]:
    """Return the embeds of a page: one for each result, the footer under the last; always within Discord's limits."""
    foot = footer(page, texts)
    if page.is_weak or not page.results:
        sentence = texts.nothing_further if page.search.page and not page.is_weak else texts.nothing_relevant
        return [discord.Embed(description=sentence, colour=COLOUR).set_footer(text=foot)]
    embeds = result_embeds(page.results, page.faces, texts, query=page.search.query, reserve=len(foot))
    embeds[-1].set_footer(text=foot)
    return embeds


def result_embeds(
    results: Sequence[RecalledMessage],
    faces: Mapping[int, Face],
    texts: Texts,
    *,
    query: str = "",
    reserve: int = 0,
) -> list[discord.Embed]:
    """Return an embed for each result; together they leave ``reserve`` of Discord's characters."""
    is_marked = terms_of(query)
    embeds = [_frame(result.message, faces) for result in results]
    metas = [_meta(result, texts) for result in results]
    room = MAX_TOTAL - reserve - sum(map(len, embeds)) - sum(len(meta) + 1 for meta in metas)
    wanted = [min(MAX_TEXT, 2 * len(result.message.text) + 16) for result in results]
    for embed, meta, result, limit in zip(embeds, metas, results, _shares(wanted, room), strict=True):
        embed.description = f"{message_text(result.message, is_marked, texts, limit)}\n{meta}"
    return embeds


def conversation_embed(
    around: Sequence[StoredMessage], centre: StoredMessage, face: Face | None, texts: Texts
) -> discord.Embed:
    """Return what was said around a message, oldest first, as one embed."""
    embed = _frame(centre, {centre.author_id: face} if face else {})
    embed.title = texts.conversation
    tail = jump_line(centre, texts)
    room = 4000 - len(tail) - sum(len(escape(m.author_name)) + 40 for m in around)
    limits = _shares([min(700, 2 * len(m.text) + 16) for m in around], room)
    lines = []
    for message, limit in zip(around, limits, strict=True):
        mark = "▸ " if message.id == centre.id else ""
        when = discord.utils.format_dt(message.created_at, "t")
        said = message_text(message, never, texts, limit)
        lines.append(f"{mark}**{escape(message.author_name)}** {when}\n{said}")
    embed.description = "\n".join([*lines, tail])
    return embed


def message_text(message: StoredMessage, is_marked: IsMarked, texts: Texts, limit: int) -> str:
    """Return a message's text as it is shown, in at most ``limit`` characters."""
    if message.content:
        return marked(message.content, is_marked, limit=limit)
    if message.attachments:
        names = ", ".join(message.attachments)
        return marked(texts.attached.format(names=names), is_marked, limit=limit)
    return marked(message.extra, is_marked, limit=limit)


def jump_url(message: StoredMessage) -> str:
    """Return the link to a message."""
    return f"https://discord.com/channels/{message.guild_id}/{message.channel_id}/{message.id}"


def jump_line(message: StoredMessage, texts: Texts) -> str:
    """Return the line with the channel, the time and the link of a message."""
    when = discord.utils.format_dt(message.created_at, "R")
    edited = f" ({texts.edited})" if message.edited_at else ""
    return f"<#{message.channel_id}> · {when}{edited} · [{texts.jump}]({jump_url(message)})"


def terms_of(query: str) -> IsMarked:
    """Return what tells whether a word was asked for: by itself, or as a form of the same word."""
    keywords = parse_question(query).keywords if query else ()
    stems = {_stem(word) for word in keywords}

    def is_marked(word: str) -> bool:
        return any(_stem(part) in stems for part in split_words(word))

    return is_marked if stems else never


def _stem(word: str) -> str:
    """A word without its commonest English and German endings: for display alone, ranking has its own ways."""
    for ending in ("ing", "ed", "es", "en", "er", "s", "e"):
        if len(word) - len(ending) >= 4 and word.endswith(ending):
            return word.removesuffix(ending)
    return word


def _frame(message: StoredMessage, faces: Mapping[int, Face | None]) -> discord.Embed:
    face = faces.get(message.author_id) or Face()
    embed = discord.Embed(colour=COLOUR)
    icon = face.avatar_url or _AVATARS.format(number=(message.author_id >> 22) % 6)
    return embed.set_author(name=cut(face.name or message.author_name, MAX_AUTHOR), icon_url=icon)


def _meta(result: RecalledMessage, texts: Texts) -> str:
    line = f"-# {match_line(result, texts)}"
    if result.duplicates == 1:
        line += f" · {texts.same_words_once}"
    elif result.duplicates:
        line += f" · {texts.same_words.format(count=result.duplicates)}"
    return f"{line}\n{jump_line(result.message, texts)}"


def _shares(wanted: Sequence[int], room: int) -> list[int]:
    """Divide ``room`` so that whoever wants little gets it and the others share the rest equally."""
    shares = [0] * len(wanted)
    for left, place in enumerate(sorted(range(len(wanted)), key=wanted.__getitem__)):
        shares[place] = max(16, min(wanted[place], room // (len(wanted) - left)))
        room -= shares[place]
    return shares
