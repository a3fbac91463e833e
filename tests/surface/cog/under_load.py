"""The real program while it reranks, loads its models anew and reads a server's history, all at once."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tests.loopback import DEFAULT_BOT, BotProcess, LoopbackDiscord, World
from tests.tiny_models import chat_lines, make_qwen3

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.loopback import Channel, Guild, Interaction, Member

MESSAGES = 700
ASKERS = 12
MOST_QUESTIONS = 100
QUESTIONS = ("did the build fail again?", "where is the screenshot", "who said pizza before friday", "the release plan")


@dataclass
class Load:
    """What came of it."""

    asked: list[Interaction] = field(default_factory=list)
    reload: Interaction | None = None
    pages_before: int = 0
    pages_after: int = 0
    """Pages of history read when the last question was acknowledged."""

    @property
    def acknowledged_s(self) -> list[float]:
        """Seconds from each slash command to its acknowledgement, in rising order."""
        return sorted(reply.ack_seconds for reply in self.asked if reply.ack_seconds is not None)


@dataclass
class BusyHouse:
    """A server of some size, whose history is not read yet."""

    discord: LoopbackDiscord
    guild: Guild
    general: Channel
    askers: list[Member]
    owner: Member
    bot: BotProcess

    def pages(self) -> int:
        """Pages of history that were given so far."""
        return len([call for call in self.discord.calls("GET", "/channels/*/messages") if call.status == 200])

    async def ask_while_all_goes_on(self, questions: int, pause_s: float) -> Load:
        """Reload the models and ask and ask, at least until that is done and another page of history was read."""
        load = Load(pages_before=self.pages())
        chance = random.Random(5)
        load.reload = self.discord.start_slash(self.owner, self.general, "memory reload")
        while len(load.asked) < questions or not load.reload.is_answered or self.pages() == load.pages_before:
            if len(load.asked) < MOST_QUESTIONS:
                asker = self.askers[len(load.asked) % len(self.askers)]
                question = f"{chance.choice(QUESTIONS)} {chance.randrange(1000)}"  # never the same: nothing is kept
                load.asked.append(self.discord.start_slash(asker, self.general, "recall", query=question))
            await asyncio.sleep(pause_s)
        for reply in load.asked:
            await reply.acknowledged()
        load.pages_after = self.pages()
        for reply in [*load.asked, load.reload]:
            await reply.answered()
        return load


@asynccontextmanager
async def busy_house(folder: Path, *, layers: int = 3, hidden: int = 128) -> AsyncIterator[BusyHouse]:
    """Start the program with a random reranker of some weight, and let it join a server with a past."""
    model = make_qwen3(folder / "model", layers=layers, hidden=hidden, intermediate=2 * hidden)
    profile = folder / "busy.toml"
    profile.write_text(f'extends = "cpu"\ndtype = "float32"\nreranker_model = "{model}"\n')
    world = World()
    guild = world.guild("Busy House", bot_permissions=None)
    askers = [guild.member(f"asker-{number}") for number in range(ASKERS)]
    owner = guild.member(world.bot_owner)
    general = guild.text_channel("general")
    start = datetime(2025, 3, 1, 12, tzinfo=UTC)
    for number, line in enumerate(chat_lines(MESSAGES, seed=3)):
        general.post(askers[number % ASKERS], line, at=start + timedelta(minutes=number))
    async with (
        LoopbackDiscord(world) as server,
        BotProcess(server, folder, arguments=("--profile", str(profile))) as bot,
    ):
        await bot.line("The reranker .* is in service")
        guild.add_bot(DEFAULT_BOT)
        house = BusyHouse(server, guild, general, askers, owner, bot)
        await server.until(lambda: house.pages() >= 1)
        yield house
