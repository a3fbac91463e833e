"""The `/memory` commands about the order of results: where it comes from, how good it is, and the instruction."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

import discord
from discord import app_commands
from discord.app_commands import locale_str

from cogs.memory.records import Scope
from cogs.memory.surface.answers import answer, think
from cogs.memory.surface.guild_settings import MAX_INSTRUCTION  # noqa: TC001 - discord.py reads annotations
from cogs.memory.surface.markup import cut, escape
from cogs.memory.surface.page import short_name
from cogs.memory.surface.recall.explanation import ExplainedResult, Explanation, as_they_stand, explain, one_line, table
from cogs.memory.surface.recall.judgements import (
    MAX_QUESTIONS,
    METRICS,
    JudgedEvaluation,
    evaluate_judged,
    judged_questions,
)
from cogs.memory.surface.rights import guard, guild_id_of, require_guild_admin

from .confirmation import Choice, Confirmation
from .memory_texts import memory_texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cogs.memory.recall_records import RecallTrace
    from cogs.memory.records import StoredMessage
    from cogs.memory.surface.access import Permit
    from cogs.memory.surface.recall.judgements import JudgedQuestion
    from cogs.memory.surface.rights import Interaction

    from .command_services import CommandServices
    from .memory_texts import MemoryTexts

COMPARED: Final = 5
"""Results that a dry run of an instruction shows of each order."""
PROGRESS_EVERY: Final = 20
"""Questions between two lines of progress of an evaluation."""
READS_INSTRUCTIONS: Final = ("qwen3", "custom")


class RankingCommands:
    """What those who may manage a server can learn and decide about the order of results.

    Everything is asked within what the asker may read, and checked again right before it is shown.

    Args:
        services: what the commands work with.
    """

    def __init__(self, services: CommandServices) -> None:
        self._services = services

    def add_to(self, memory: app_commands.Group) -> None:
        """Add the commands to ``/memory``, each with its check."""
        guard(
            require_guild_admin,
            memory.command(
                name="explain", description=locale_str("Admins: which stage found what, and where it put it")
            )(self.explain),
            memory.command(name="instruction", description=locale_str("Admins: what the reranker is told to look for"))(
                self.instruction
            ),
            memory.command(
                name="evaluate", description=locale_str("Admins: measure the answers by people's 👍 and 👎")
            )(self.evaluate),
        )

    # --- explain

    @app_commands.describe(query=locale_str("The question to explain"))
    async def explain(self, interaction: Interaction, query: app_commands.Range[str, 1, 1000]) -> None:
        """Show each result's place in the order of each stage."""
        await think(interaction)
        texts = memory_texts(interaction)
        permit = await self._permit(interaction)
        instruction = (await self._services.settings.get(permit.guild_id)).instruction
        explanation = await explain(self._services.memory, query, _scope(permit), instruction=instruction)
        verified = await self._services.verification.verify(_messages(explanation))
        explanation = as_they_stand(explanation, verified.current)
        allowed = await self._services.access.still_allowed(
            permit, {each.channel_id for each in _messages(explanation)}
        )
        shown = [each for each in explanation.results if each.result.message.channel_id in allowed]
        if not shown:
            await answer(interaction, texts.explain_nothing)
            return
        embed = discord.Embed(
            title=texts.explain_title, description=f"{escape(cut(query, 200))}\n```\n{cut(table(shown), 3500)}\n```"
        )
        legend = [
            texts.explain_final.format(reranker=short_name(explanation.recall.trace.reranker)),
            texts.explain_columns,
        ]
        if any(each.result.rerank_score is not None for each in shown):
            legend.append(texts.explain_model)
        embed.set_footer(text="\n".join(legend))
        stages = _stages(texts, explanation.recall.trace)
        embed.add_field(name=texts.explain_stages, value=cut(stages, 1024), inline=False)
        without = _without(texts, explanation, shown, allowed)
        embed.add_field(name=texts.explain_without, value=cut(without, 1024), inline=False)
        await answer(interaction, embed=embed)

    # --- instruction

    @app_commands.describe(
        text=locale_str("What makes a message relevant; empty shows the present one"),
        query=locale_str("A question to try it with first"),
        clear=locale_str("Go back to the usual instruction"),
    )
    async def instruction(
        self,
        interaction: Interaction,
        text: app_commands.Range[str, 1, MAX_INSTRUCTION] | None = None,
        query: app_commands.Range[str, 1, 1000] | None = None,
        clear: bool = False,
    ) -> None:
        """Show, try and set, or clear the instruction that the reranker reads on this server."""
        await think(interaction)
        guild_id, texts = guild_id_of(interaction), memory_texts(interaction)
        if clear:
            await self._services.settings.change(guild_id, lambda settings: replace(settings, instruction=None))
            await answer(interaction, texts.instruction_cleared)
            return
        if text is None:
            await answer(interaction, await self._present_instruction(texts, guild_id))
            return
        new = " ".join(text.split())
        lines = [texts.instruction_ask.format(instruction=escape(new)), *self._unread(texts)]
        embed = await self._dry_run(interaction, query, new) if query is not None else None

        async def act(pressed: Interaction) -> str:
            await self._services.settings.change(guild_id, lambda settings: replace(settings, instruction=new))
            return memory_texts(pressed).instruction_set

        choice = Choice(texts.instruction_button, act, discord.ButtonStyle.primary)
        await Confirmation(interaction, [choice], self._services.failures, right=require_guild_admin).ask(
            "\n".join(lines), embed=embed
        )

    async def _present_instruction(self, texts: MemoryTexts, guild_id: int) -> str:
        present = (await self._services.settings.get(guild_id)).instruction
        if present is None:
            return texts.instruction_none
        return "\n".join([texts.instruction_is.format(instruction=escape(present)), *self._unread(texts)])

    def _unread(self, texts: MemoryTexts) -> list[str]:
        reranker = self._services.memory.profile.reranker
        return [] if reranker in READS_INSTRUCTIONS else [texts.instruction_unread.format(reranker=escape(reranker))]

    async def _dry_run(self, interaction: Interaction, query: str, instruction: str) -> discord.Embed:
        """Put one question's results in order without and with an instruction."""
        texts, memory = memory_texts(interaction), self._services.memory
        permit = await self._permit(interaction)
        present = (await self._services.settings.get(permit.guild_id)).instruction
        before = await memory.recall(query, _scope(permit), limit=COMPARED, instruction=present)
        after = await memory.recall(query, _scope(permit), limit=COMPARED, instruction=instruction)
        found = [each.message for each in (*before.results, *after.results)]
        verified = await self._services.verification.verify(found)
        allowed = await self._services.access.still_allowed(permit, {each.channel_id for each in found})
        embed = discord.Embed(description=escape(cut(query, 200)))
        if not allowed:
            embed.add_field(name=texts.instruction_after, value=texts.instruction_nothing)
            return embed
        lists = [
            _numbered(
                verified.current[result.message.id]
                for result in recall.results
                if result.message.id in verified.current and result.message.channel_id in allowed
            )
            for recall in (before, after)
        ]
        embed.add_field(name=texts.instruction_before, value=lists[0], inline=False)
        embed.add_field(name=texts.instruction_after, value=lists[1], inline=False)
        if lists[0] == lists[1]:
            embed.set_footer(text=texts.instruction_same)
        return embed

    # --- evaluate

    async def evaluate(self, interaction: Interaction) -> None:
        """Ask the judged questions again, with and without reranking, and show how well they are answered."""
        await think(interaction)
        texts = memory_texts(interaction)
        permit = await self._permit(interaction)
        asked, hidden = await self._askable(permit)
        newest = asked[-MAX_QUESTIONS:]
        if not newest:
            await answer(interaction, texts.evaluate_nothing)
            return
        scope, instruction = _scope(permit), (await self._services.settings.get(permit.guild_id)).instruction
        reranked: list[JudgedEvaluation] = []
        for start in range(0, len(newest), PROGRESS_EVERY):
            part = newest[start : start + PROGRESS_EVERY]
            reranked.append(await evaluate_judged(self._services.memory, scope, part, instruction=instruction))
            if start + PROGRESS_EVERY < len(newest):
                done = texts.evaluate_progress.format(count=start + len(part), total=len(newest))
                await answer(interaction, done)
        plain = await evaluate_judged(self._services.memory, scope, newest, order="rrf")
        columns = {texts.evaluate_reranked: merged(reranked), texts.evaluate_plain: plain}
        embed = discord.Embed(title=texts.evaluate_title, description=f"```\n{metrics_table(texts, columns)}\n```")
        notes = [texts.evaluate_asked.format(questions=len(newest))]
        notes += [texts.evaluate_newest.format(count=len(newest))] if len(asked) > len(newest) else []
        notes += [texts.evaluate_hidden.format(count=hidden)] if hidden else []
        embed.add_field(name="\u200b", value="\n".join(notes), inline=False)
        embed.set_footer(text=texts.evaluate_legend)
        await answer(interaction, embed=embed)

    async def _askable(self, permit: Permit) -> tuple[list[JudgedQuestion], int]:
        """The questions with a good message, oldest first, and how many more have theirs out of the asker's sight."""
        judgements = await self._services.judgements.of(permit.guild_id)
        seen = [each for each in judgements if each.channel_id in permit.channel_ids]
        asked = [question for question in judged_questions(seen) if question.good]
        total = sum(bool(question.good) for question in judged_questions(judgements))
        return asked, max(0, total - len(asked))

    async def _permit(self, interaction: Interaction) -> Permit:
        return await self._services.access.ephemeral(interaction.guild, interaction.user, interaction.channel_id)


class _Row(NamedTuple):
    name: str
    values: Sequence[float]


def metrics_table(texts: MemoryTexts, columns: dict[str, JudgedEvaluation]) -> str:
    """Return evaluations side by side as lines of equal columns."""
    rows = [_Row(name, [each.metrics[name] for each in columns.values()]) for name in METRICS]
    rows.append(_Row(texts.evaluate_bad_first, [each.bad_first for each in columns.values()]))
    width = max(len(row.name) for row in rows)
    widths = [max(6, len(heading)) for heading in columns]
    lines = [" " * width + "".join(f"  {heading:>{w}}" for heading, w in zip(columns, widths, strict=True))]
    for row in rows:
        values = "".join(f"  {value:>{w}.3f}" for value, w in zip(row.values, widths, strict=True))
        lines.append(f"{row.name:<{width}}{values}")
    return "\n".join(lines)


def merged(parts: Sequence[JudgedEvaluation]) -> JudgedEvaluation:
    """Return the evaluation of all questions from those of parts of them."""
    total = sum(part.questions for part in parts)

    def mean(values: Iterable[float]) -> float:
        return sum(value * part.questions for value, part in zip(values, parts, strict=True)) / total

    metrics = {name: mean(part.metrics[name] for part in parts) for name in METRICS}
    return JudgedEvaluation(total, metrics, mean(part.bad_first for part in parts))


def _scope(permit: Permit) -> Scope:
    return Scope(permit.guild_id, permit.channel_ids)


def _messages(explanation: Explanation) -> list[StoredMessage]:
    first = explanation.first_without
    return [*(each.result.message for each in explanation.results), *([first] if first else [])]


def _stages(texts: MemoryTexts, trace: RecallTrace) -> str:
    return " · ".join(
        texts.explain_stage.format(name=stage.name, count=stage.count, milliseconds=f"{stage.milliseconds:.0f}")
        for stage in trace.stages
    )


def _without(
    texts: MemoryTexts, explanation: Explanation, shown: Sequence[ExplainedResult], allowed: frozenset[int]
) -> str:
    """What would be different if nothing were reranked."""
    first, other = shown[0], explanation.first_without
    if other is None or other.channel_id not in allowed:
        return "–"
    if other.id == first.result.message.id:
        return texts.explain_without_same
    lines = [texts.explain_without_other.format(line=escape(one_line(other, 200)))]
    rank = first.ranks["fused"]
    return "\n".join([*lines, texts.explain_without_rank.format(rank=rank)] if rank else lines)


def _numbered(messages: Iterable[StoredMessage]) -> str:
    lines = [f"{place}. {escape(one_line(each, 90))}" for place, each in enumerate(messages, start=1)]
    return cut("\n".join(lines) or "–", 1024)
