"""The real program, unmodified, replies on the loopback Discord, with and without a language model behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.chat_server import ChatServer, Refusal
from tests.loopback import BotProcess, LoopbackDiscord

from .chat_house import chat_world

if TYPE_CHECKING:
    from pathlib import Path

    from tests.loopback import Channel, Member, Message


def replies(server: LoopbackDiscord, where: Channel) -> list[Message]:
    return [each for each in where.history(100) if each.author is server.world.bot]


async def ask(server: LoopbackDiscord, who: Member, where: Channel, question: str, ending: str) -> Message:
    """Mention the bot and wait until a reply holds a text."""
    before = len(replies(server, where))
    where.post(who, f"<@{server.world.bot.id}> {question}")
    await server.until(
        lambda: any(ending in each.content for each in replies(server, where)[before:]),
        what=f"a reply with {ending!r}",
    )
    return replies(server, where)[before]


async def test_the_program_quotes_by_itself_and_a_model_answers_once_it_has_one(tmp_path: Path) -> None:
    world = chat_world()
    [guild] = world.guilds.values()
    people = {member.user.name: member for member in guild.members.values()}
    ada, mod = people["ada"], people["mod"]
    channels = {channel.name: channel for channel in guild.channels.values()}
    general, secret = channels["general"], channels["mods-only"]
    said = general.post(mod, "the samovar repair is at six on thursday")
    secret.post(mod, "the samovar repair costs two hundred")
    async with (
        ChatServer("On thursday, at six [1]. @everyone see https://tea.example/samovar") as model,
        LoopbackDiscord(world) as server,
    ):
        bot = BotProcess(server, tmp_path)
        async with bot:
            await bot.line("The back-fill of guild .* is done")
            reply = await ask(server, ada, general, "when is the samovar repair?", "at six on thursday")
            assert f"(<{said.jump_url}>)" in reply.content
            assert "two hundred" not in reply.content
            assert await bot.terminate() == 0
        modelled = BotProcess(
            server,
            tmp_path,
            environment={"CHAT_PROVIDER": "openai", "CHAT_BASE_URL": model.url, "CHAT_MODEL": "tiny"},
        )
        async with modelled:
            reply = await ask(server, mod, general, "and the samovar repair, when is it?", "On thursday, at six [1]")
            await server.until(lambda: "discord.com/channels" in reply.content, what="its sources")
            assert not reply.mentions
            assert "@everyone" not in reply.content
            assert "(<https://tea.example" in reply.content or "<https://tea.example/samovar>" in reply.content
            assert "two hundred" not in model.last.prompt
            assert "the samovar repair is at six" in model.last.prompt
            model.always(Refusal(500))
            failed = await ask(
                server, ada, general, "once more, when is the samovar repair?", "The language model failed"
            )
            await server.until(lambda: "at six on thursday" in failed.content, what="quotes in its place")
            said.delete()
            await server.until(
                lambda: sum("taken it back" in each.content for each in replies(server, general)) == 3,
                what="all three replies to be taken back",
            )
            assert await modelled.terminate() == 0
        for output in (bot.output, modelled.output):
            assert "Traceback" not in output
            assert "at six on thursday" not in output
