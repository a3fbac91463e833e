"""The `/memory` commands for the bot's owner: load models again, and see how the memory is doing."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

import discord
from discord import app_commands
from discord.app_commands import locale_str

from cogs.memory.surface.answers import answer, think
from cogs.memory.surface.markup import cut
from cogs.memory.surface.operation.operator_figures import operator_figures
from cogs.memory.surface.operation.samples import percentile
from cogs.memory.surface.operation.statistics_plot import draw
from cogs.memory.surface.rights import guard, require_owner
from profiles.loading import TIERS

from .memory_texts import memory_texts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cogs.memory.surface.rights import Interaction

    from .command_services import CommandServices
    from .memory_texts import MemoryTexts

PLOT_NAME: Final = "last-day.png"
CACHES: Final = {"model": "rerank_model_", "score": "model_score_cache_", "query": "query_cache_"}
"""What the figures of each cache begin with."""
CACHE_FIGURES: Final = ("hits", "misses", "evictions", "expired", "hit_rate", "size", "loads", "load_failures")


class OwnerCommands:
    """What the bot's owner can do.

    Args:
        services: what the commands work with.
    """

    def __init__(self, services: CommandServices) -> None:
        self._services = services

    def add_to(self, memory: app_commands.Group) -> None:
        """Add the commands to ``/memory``, each with its check."""
        guard(
            require_owner,
            memory.command(name="reload", description=locale_str("For the bot's owner: load the models again"))(
                self.reload
            ),
            memory.command(name="stats", description=locale_str("For the bot's owner: times, caches, a plot"))(
                self.stats
            ),
        )

    @app_commands.describe(profile=locale_str("Another profile; empty for the present one"))
    @app_commands.choices(profile=[app_commands.Choice(name=tier, value=tier) for tier in TIERS])
    async def reload(self, interaction: Interaction, profile: str | None = None) -> None:
        """Load the models again, of the present profile or of another one."""
        await think(interaction)
        await answer(interaction, cut(await self._services.memory.reload(profile), 2000))

    async def stats(self, interaction: Interaction) -> None:
        """Show the store's size, times, rates, caches, the reranker's proof of life and the last day as a plot."""
        await think(interaction)
        texts, memory = memory_texts(interaction), self._services.memory
        samples = self._services.samples.all()
        picture = await draw(samples) if len(samples) > 1 else None
        figures = await operator_figures(memory, self._services.samples.lag)
        stats = figures.store
        store = texts.stats_store_text.format(
            messages=texts.count_messages(stats.messages),
            guilds=f"{stats.guilds:,}",
            awaiting=f"{stats.awaiting:,}",
            tombstones=f"{stats.tombstones:,}",
            megabytes=f"{stats.bytes_on_disk / 1e6:,.1f}",
        )
        ingest = texts.stats_ingest_text.format(
            rate=f"{figures.ingest_rate:.0f}",
            waiting=f"{figures.events_waiting:,}",
            not_finite=f"{figures.embedder['not_finite']:,}",
        )
        embed = discord.Embed(title=texts.stats_title)
        embed.add_field(name=texts.stats_store, value=store, inline=False)
        embed.add_field(name=texts.stats_recall, value=recall_times(texts, figures.recall_ms), inline=False)
        embed.add_field(name=texts.stats_ingest, value=ingest, inline=False)
        embed.add_field(name=texts.stats_lag, value=lag_times(texts, figures.loop_lag_ms), inline=False)
        caches = caches_table({**figures.caches, **figures.reranker})
        embed.add_field(name=texts.stats_cache, value=caches, inline=False)
        others = {name: value for name, value in figures.reranker.items() if not name.startswith(CACHES["score"])}
        embed.add_field(name=texts.stats_reranker, value=figures_block(others), inline=False)
        for companion in self._services.companions:
            if told := companion.figures():
                embed.add_field(name=companion.name, value=figures_block(told), inline=False)
        if picture is None:
            embed.set_footer(text=texts.stats_no_plot)
            await answer(interaction, embed=embed)
            return
        embed.set_image(url=f"attachment://{PLOT_NAME}")
        embed.set_footer(text=texts.stats_plot)
        await answer(interaction, embed=embed, files=[discord.File(io.BytesIO(picture), filename=PLOT_NAME)])


def recall_times(texts: MemoryTexts, ordered_ms: Sequence[float]) -> str:
    """Return the percentiles of recall times, smallest first, as a sentence."""
    if not ordered_ms:
        return texts.stats_recall_none
    p50, p95, p99 = (f"{percentile(ordered_ms, percent):,.0f}" for percent in (50, 95, 99))
    return texts.stats_recall_text.format(p50=p50, p95=p95, p99=p99, count=f"{len(ordered_ms):,}")


def lag_times(texts: MemoryTexts, ordered_ms: Sequence[float]) -> str:
    """Return how late the event loop is as a sentence."""
    p50, p99 = (f"{percentile(ordered_ms, percent) or 0:,.0f}" for percent in (50, 99))
    return texts.stats_lag_text.format(p50=p50, p99=p99)


def caches_table(figures: Mapping[str, Any]) -> str:
    """Return what is known of each cache, side by side, as a code block."""
    lines = [f"{'':<13}" + "".join(f"{name:>9}" for name in CACHES)]
    for figure in CACHE_FIGURES:
        values = [
            figures.get(f"{prefix}{figure}", figures.get(f"{prefix}cache_{figure}")) for prefix in CACHES.values()
        ]
        lines.append(f"{figure.replace('_', ' '):<13}" + "".join(f"{_figure(value):>9}" for value in values))
    return "```\n" + "\n".join(lines) + "\n```"


def figures_block(figures: Mapping[str, float | int | str | None]) -> str:
    """Return named figures as a code block that fits a field of an embed."""
    width = max((len(name) for name in figures), default=0)
    lines = [f"{name:<{width}}  {_figure(value)}".replace("`", "'") for name, value in figures.items()]
    return f"```\n{cut(chr(10).join(lines), 1000)}\n```"


def _figure(value: float | str | None) -> str:
    if value is None or isinstance(value, str):
        return value or "–"
    return f"{value:,.3f}" if isinstance(value, float) else f"{value:,}"
