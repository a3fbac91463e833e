"""How far a back-fill has come, in numbers and in words. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .backfill_texts import BackfillTexts

BAR_CELLS = 20


class RunState(StrEnum):
    """What a back-fill is doing."""

    RUNNING = "running"
    PAUSED = "paused"
    WAITING = "waiting"
    """Discord or the store failed; it goes on by itself."""
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self in (RunState.DONE, RunState.CANCELLED, RunState.FAILED)


@dataclass(frozen=True, slots=True)
class ChannelShare:
    """One channel's pages read so far, and which share of its history they are, 0–1."""

    pages: int
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillProgress:
    """One moment of a guild's back-fill."""

    state: RunState
    owner_id: int | None = None
    """Who began it by command; None when it began by itself."""
    channels_done: int = 0
    channels_total: int = 0
    """Channels and threads found so far."""
    refused: tuple[int, ...] = ()
    """Ids of channels and threads that the bot may not read."""
    messages: int = 0
    share: float = 0.0
    """Estimated share that is done, 0–1."""
    messages_per_s: float = 0.0
    seconds_left: float | None = None
    """An estimate; None when there is nothing to base it on."""
    problem: str | None = None


def estimate(channels: Sequence[ChannelShare]) -> tuple[float, float]:
    """Estimate from the channels begun the share that is done and the pages that are left.

    A channel's pages are taken to be spread evenly over its lifetime, and a channel not yet begun to be as long as
    the others on average; every one needs at least one page.
    """
    begun = [channel.pages / channel.share for channel in channels if channel.pages and channel.share > 0]
    average = max(1.0, sum(begun) / len(begun)) if begun else 1.0
    done = left = 0.0
    for channel in channels:
        done += channel.pages
        if channel.share >= 1:
            continue
        whole = channel.pages / channel.share if channel.pages and channel.share > 0 else average + channel.pages
        left += max(1.0, whole - channel.pages)
    return (done / (done + left) if done + left else 1.0), left


def bar(share: float, cells: int = BAR_CELLS) -> str:
    """Draw a share, 0–1; only a finished one is full."""
    full = min(int(share * cells), cells if share >= 1 else cells - 1)
    return "█" * full + "░" * (cells - full)


def duration(seconds: float, texts: BackfillTexts) -> str:
    """Say roughly how long something takes."""
    if seconds < 60:
        return texts.seconds.format(count=max(1, round(seconds)))
    if seconds < 90 * 60:
        return texts.minutes.format(count=round(seconds / 60))
    hours = round(seconds / 3600)
    return texts.hours.format(count=hours) if hours < 48 else texts.days.format(count=round(seconds / 86_400))


def describe(progress: BackfillProgress, texts: BackfillTexts) -> str:
    """Return the progress as a few lines of Markdown; no names, no texts of messages."""
    share = 1.0 if progress.state is RunState.DONE else min(progress.share, 0.99)
    lines = [f"**{getattr(texts, progress.state)}**"]
    if progress.channels_total:
        lines += [f"`{bar(share)}` {share:.0%}", " · ".join(_figures(progress, texts))]
    if progress.refused:
        lines.append(_count(len(progress.refused), texts.refused_one, texts.refused, texts) + texts.refused_why)
    if progress.problem:
        lines.append(progress.problem)
    return "\n".join(lines)


def _figures(progress: BackfillProgress, texts: BackfillTexts) -> list[str]:
    channels = texts.channels_one if progress.channels_total == 1 else texts.channels
    figures = [
        channels.format(done=texts.number(progress.channels_done), count=texts.number(progress.channels_total)),
        _count(progress.messages, texts.messages_one, texts.messages, texts),
    ]
    if progress.state is RunState.RUNNING and progress.seconds_left is not None:
        figures.append(texts.rate.format(rate=texts.number(progress.messages_per_s)))
        figures.append(texts.left.format(time=duration(progress.seconds_left, texts)))
    return figures


def _count(number: int, one: str, many: str, texts: BackfillTexts) -> str:
    return one if number == 1 else many.format(count=texts.number(number))
