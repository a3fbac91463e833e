"""Which messages a reply is given, of those that were found: no copies, no one author only, within the room. Pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from cogs.memory.query_terms import split_words
from cogs.memory.quoting import MAX_QUOTE
from cogs.memory.recall_records import RecalledMessage
from cogs.memory.same_words import FLOOD, LEAST_WORDS, NEAR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cogs.memory.records import Scope, StoredMessage

CONVERSATION: Final = timedelta(minutes=10)
"""Messages of one channel that are closer than this belong together."""
LEADERS: Final = 3
"""Results that bring along what stands beside them. Measured: for more of them the room is better spent on results."""
BESIDE_TOKENS: Final = 40
"""Longest line that is brought along."""
AUTHOR_SHARE: Final = 0.7
"""Share of the room that one author may take, unless a number of messages is given."""
COMPARED: Final = 1000
"""Characters of a message that are compared with others."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A message that is quoted."""

    result: RecalledMessage
    limit: int
    """Characters quoted."""
    is_beside: bool = False
    """Whether it was not found itself, but stands beside one that was."""


@dataclass(slots=True)
class _Variants:
    """Messages that say about the same."""

    words: frozenset[str]
    """Of the best of them."""
    best: int
    """Its id."""
    count: int


class Copies:
    """Which messages say again what a better result says, by the rule of `same_words`.

    A recall has joined the copies among its results already, and counted them. What stands beside a result may be one
    more of them.

    Args:
        results: best first.
    """

    def __init__(self, results: Sequence[RecalledMessage]) -> None:
        self._texts: list[_Variants] = []
        for result in results:
            words = _words(result.message)
            known = next((text for text in self._texts if _similar(words, text.words)), None)
            if known is None:
                known = _Variants(words, result.message.id, 0)
                self._texts.append(known)
            known.count += 1 + result.duplicates

    def holds(self, message: StoredMessage) -> bool:
        """Whether a message is a copy; the best of its kind is none."""
        words = _words(message)
        for text in self._texts:
            if text.best == message.id:
                return False
            is_flood = text.count >= FLOOD and _similar(words, text.words)
            if is_flood or (words == text.words and len(words) >= LEAST_WORDS):
                return True
        return False


class Selection:
    """Takes the best results while there is room.

    Args:
        room: tokens for the lines.
        per_author: how many messages of one author at most; None for `AUTHOR_SHARE`.
        scope: what stands beside a result must lie in it; None where that is known.
        cost: tokens of the line of a message of which so many characters are quoted.
    """

    def __init__(
        self,
        room: int,
        per_author: int | None,
        scope: Scope | None,
        cost: Callable[[StoredMessage, int], int],
    ) -> None:
        self._room = self._left = room
        self._per_author = per_author
        self._scope = scope
        self._cost = cost
        self._lines_of: defaultdict[int, int] = defaultdict(int)
        self._spent_on: defaultdict[int, int] = defaultdict(int)
        self._chosen: dict[int, Chosen] = {}

    def choose(self, results: Sequence[RecalledMessage]) -> dict[int, Chosen]:
        """Return what is quoted by id, in the order in which it was chosen.

        Args:
            results: best first.
        """
        copies = Copies(results)
        found = {result.message.id: result for result in results}
        leaders = 0
        for result in results:
            if copies.holds(result.message) or not self._take(result):
                continue
            leaders += 1
            if leaders <= LEADERS:
                for message in _beside(result):
                    if not copies.holds(message) and self._admits(message):
                        self._take_along(message, found.get(message.id), len(results))
        return self._chosen

    def _take(self, result: RecalledMessage) -> bool:
        if result.message.id in self._chosen:
            return True
        for limit in (MAX_QUOTE,) if self._chosen else (MAX_QUOTE, MAX_QUOTE // 2, MAX_QUOTE // 4):
            if self._has_room(result.message, limit, self._left):
                self._chosen[result.message.id] = Chosen(result, limit)
                return True
        return False

    def _take_along(self, message: StoredMessage, found: RecalledMessage | None, last: int) -> None:
        limit = MAX_QUOTE // 2
        if message.id in self._chosen or not self._has_room(message, limit, min(self._left, BESIDE_TOKENS)):
            return
        result = found or RecalledMessage(message, rank=last + 1, score=0.0, relevance=0.0)
        self._chosen[message.id] = Chosen(result, limit, is_beside=found is None)

    def _has_room(self, message: StoredMessage, limit: int, room: int) -> bool:
        """Book the cost of a line if neither the room nor its author's part of it is used up."""
        author = message.author_id
        if self._lines_of[author] == self._per_author:
            return False
        cost = self._cost(message, limit)
        spent = self._spent_on[author]
        if cost > room or (self._per_author is None and spent and spent + cost > AUTHOR_SHARE * self._room):
            return False
        self._left -= cost
        self._lines_of[author] += 1
        self._spent_on[author] += cost
        return True

    def _admits(self, message: StoredMessage) -> bool:
        return self._scope is None or self._scope.admits(message)


def conversations(messages: Sequence[StoredMessage]) -> list[list[StoredMessage]]:
    """Return messages by conversation, both in order of time: one channel, and no gap longer than `CONVERSATION`."""
    groups: list[list[StoredMessage]] = []
    for message in sorted(messages, key=lambda m: (m.channel_id, m.created_at, m.id)):
        last = groups[-1][-1] if groups else None
        if last is not None and belong_together(last, message):
            groups[-1].append(message)
        else:
            groups.append([message])
    return sorted(groups, key=lambda group: (group[0].created_at, group[0].id))


def belong_together(one: StoredMessage, other: StoredMessage) -> bool:
    """Whether two messages are of one conversation."""
    if one.channel_id != other.channel_id:
        return False
    answers = one.reply_to == other.id or other.reply_to == one.id
    return answers or abs(one.created_at - other.created_at) <= CONVERSATION


def _beside(result: RecalledMessage) -> Iterator[StoredMessage]:
    """What stands beside a result: what it replies to, what was said just before and after, the first reply to it."""
    around = (*result.replies[:1], *result.before[-1:], *result.after[:1], *result.replies[1:])
    return (message for message in around if belong_together(message, result.message))


def _words(message: StoredMessage) -> frozenset[str]:
    return frozenset(split_words(message.text[:COMPARED]))


def _similar(one: frozenset[str], other: frozenset[str]) -> bool:
    return len(one) >= LEAST_WORDS and len(one & other) >= NEAR * len(one | other)
