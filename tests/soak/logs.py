"""The real program with everything logged at DEBUG: what people say and what opens doors must not be in it."""

from __future__ import annotations

import asyncio
import random
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.loopback import BotProcess, Drop, LoopbackDiscord, RateLimited, World
from tests.loopback.errors import UserError

from .figure import Figure

LONG_ROUNDS = 100
TOKEN = "MTk4NjIyNDgzNDcxOTI1MjQ4.Cl2FMQ.ZnCjm1XVW7vRze4b7Cq4se7kKWs"


@dataclass
class Spoken:
    """What a run said and used that no line may hold."""

    words: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def leaks(self) -> list[str]:
        """Return the lines that hold any of it."""
        forbidden = [*self.words, *self.tokens, TOKEN]
        return [line for line in self.lines if any(each in line for each in forbidden)]


def run(*, seed: int, scale: float) -> list[Figure]:
    """Talk, edit, delete, ask and fail at DEBUG, as text and as JSON."""
    rounds = max(3, round(LONG_ROUNDS * scale))
    figures = []
    for log_format in ("text", "json"):
        with tempfile.TemporaryDirectory() as folder:
            spoken = asyncio.run(talk_at_debug(Path(folder), rounds=rounds, seed=seed, log_format=log_format))
        leaks = spoken.leaks()
        value = f"{len(leaks)} lines of {len(spoken.lines):,} with any of {len(spoken.words)} texts or a token"
        name = f"{rounds} rounds of talk, questions and failures, logged at DEBUG as {log_format}"
        figures.append(Figure(name, value, not leaks and len(spoken.lines) > rounds, seed, "0 lines"))
    return figures


async def talk_at_debug(folder: Path, *, rounds: int, seed: int, log_format: str = "text") -> Spoken:
    """Let people use the program while all it can log is logged."""
    chance = random.Random(seed)
    spoken = Spoken()

    def word() -> str:
        spoken.words.append("".join(chance.choices("bcdfghjklmnpqrstvwxz", k=14)))
        return spoken.words[-1]

    world = World()
    guild = world.guild("Tea House")
    ada = guild.member("ada")
    general = guild.text_channel("general")
    general.post(ada, f"from before {word()}")
    environment = {"LOG_LEVEL": "DEBUG", "LOG_FORMAT": log_format}
    async with LoopbackDiscord(world, token=TOKEN) as discord:
        async with BotProcess(discord, folder, environment=environment) as bot:
            for number in range(rounds):
                message = general.post(ada, f"the kettle {word()}")
                message.edit(f"the teapot {word()} {word()}")
                gone = general.post(ada, f"gone {word()}")
                gone.delete()
                if number % 3 == 0:
                    discord.faults.add("PATCH", "/webhooks/*/*/messages/@original", RateLimited(0.05))
                if number % 3 == 1:
                    discord.faults.add("GET", "/guilds/*/members/*", Drop())
                for path, options in (("recall", {"query": f"teapot {word()}"}), ("memory privacy", {})):
                    reply = await discord.slash(ada, general, path, **options)
                    spoken.tokens.append(reply.token)
                    if path == "recall":
                        with suppress(UserError):  # no further page yet
                            pressed = await discord.press(reply, "Next")
                            spoken.tokens.append(pressed.token)
            await bot.terminate()
        spoken.lines = bot.lines
    return spoken
