"""What somebody looks for, and how a button remembers it: in its own custom id, so that it outlives the process."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

MAX_PAGE_SIZE: Final = 10
"""Results on one page: one embed each, and Discord allows ten."""
DEFAULT_PAGE_SIZE: Final = 5
MAX_RESULTS: Final = 50
"""Results that can be paged through; every page is cut from the same recall."""
STATE: Final = r"[0-9a-z.]{9,90}"
"""What `Search.encode` gives, as a regular expression."""
ID: Final = r"[0-9a-z]{1,13}"
"""What `encode_id` gives, as a regular expression."""

_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
_KINDS: Final = ("link", "file", "image", "code")


@dataclass(frozen=True, slots=True)
class Search:
    """A question with its filters, and the page of the answer that is looked at.

    ``encode`` leaves out the query: it stands in the message that the buttons hang on (or is the text of the message
    ``related_to``).
    """

    query: str = ""
    author_id: int | None = None
    channel_id: int | None = None
    after: datetime | None = None
    before: datetime | None = None
    has: str | None = None
    """One of "link", "file", "image", "code"."""
    page: int = 0
    page_size: int = DEFAULT_PAGE_SIZE
    related_to: int | None = None
    """The message whose text is looked for, itself left out."""
    related_in: int | None = None
    """The channel of that message."""
    anyway: bool = False
    """Whether results are shown although none is relevant."""

    def on_page(self, page: int) -> Search:
        """Return the same search, looking at another page."""
        return replace(self, page=max(0, page))

    @property
    def first(self) -> int:
        """The number of results before this page."""
        return self.page * self.page_size

    def encode(self) -> str:
        """Return everything but the query in at most 90 characters."""
        numbers = (
            self.page,
            self.page_size,
            self.author_id,
            self.channel_id,
            _seconds(self.after),
            _seconds(self.before),
            None if self.has is None else _KINDS.index(self.has),
            self.related_to,
            self.related_in,
            int(self.anyway) or None,
        )
        return ".".join("" if number is None else _base36(number) for number in numbers)

    @classmethod
    def decode(cls, state: str, query: str = "") -> Search:
        """Return the search that `encode` wrote.

        Raises:
            ValueError: this is not one.
        """
        parts = [int(part, 36) if part else None for part in state.split(".")]
        if len(parts) != 10:
            raise ValueError("not the state of a search")
        page, size, author, channel, after, before, has, related, related_in, anyway = parts
        return cls(
            query=query,
            author_id=author,
            channel_id=channel,
            after=_moment(after),
            before=_moment(before),
            has=None if has is None else _KINDS[min(has, len(_KINDS) - 1)],
            page=min(page or 0, MAX_RESULTS),
            page_size=max(1, min(size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)),
            related_to=related,
            related_in=related_in,
            anyway=bool(anyway),
        )


def encode_id(number: int) -> str:
    """Return an id as a button keeps it; ``int(text, 36)`` gives it back."""
    return _base36(number)


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits or "0"


def _seconds(moment: datetime | None) -> int | None:
    return None if moment is None else max(0, int(moment.timestamp()))


def _moment(seconds: int | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(min(seconds, 253_402_300_000), UTC)
