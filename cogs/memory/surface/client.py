"""`MemoryBot`: the Discord bot that ``bot.py`` starts; every failure to start ends as one sentence."""

from __future__ import annotations

import asyncio
import logging
import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import discord
from discord import app_commands
from discord.ext import commands

from cogs.memory.exceptions import MemoryCogError
from cogs.memory.surface.commands.command_sync import CommandSync
from cogs.memory.surface.failures import Failures
from cogs.memory.surface.listeners import NO_CONTENT, content_is_switched_on
from cogs.memory.surface.operation.heartbeat import Heartbeat
from cogs.memory.surface.operation.stop_signal import StopSignal, end_process
from cogs.memory.surface.plain_rules import RuledChannel, channel_rules
from cogs.memory.surface.roster import COUNTED_MEMBERS
from cogs.memory.surface.services import SERVICES
from cogs.memory.surface.texts import texts_of
from profiles import ProfileError, SettingsError, load_settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cogs.memory.surface.operation.shards import Shards
    from cogs.memory.surface.services import SurfaceServices
    from profiles import MemoryProfile

log = logging.getLogger(__name__)

DRAIN_S: Final = 4.0
"""Seconds that closing may take; what is not applied by then comes with the catch-up after the next start."""
REOPEN_S: Final = 60.0
"""Seconds after which a memory that could not be opened is tried again, if nobody asks before."""
REFUSED: Final = (
    "Discord refuses the token: copy it again from the developer portal (your application → Bot → Reset Token) "
    "into DISCORD_TOKEN."
)
MEMBERS_HEARD: Final = "The server members intent is on: public answers in small servers go by who is there."
MEMBERS_NOT_HEARD: Final = "The server members intent is off: public answers go by roles and overwrites alone."
CLOSED: Final = (
    "Discord has ended the connection for good (close code {code}); start again, and if it says 4010 or 4011, with the "
    "number of shards that Discord asks for."
)
AUTHENTICATION_FAILED: Final = 4004
"""The gateway's close code for a token that is not, or no longer, good."""
UNREACHABLE: Final = "Discord cannot be reached ({reason}); check the network and start again."


KEPT_MEMBERS: Final = 100
"""Members that may be cached of a server too large to count; who is needed again is asked for again."""


def memory_intents(*, direct_messages: bool = False, members: bool = False) -> discord.Intents:
    """What the memory needs to hear: servers, their messages, and what those say.

    Args:
        direct_messages: whether to hear those as well.
        members: whether to hear who comes, goes and changes his roles, which is a switch in the developer portal.
    """
    intents = discord.Intents.none()
    intents.guilds = True
    intents.members = members
    intents.guild_messages = True
    intents.dm_messages = direct_messages
    intents.message_content = True
    return intents


class MemoryTree(app_commands.CommandTree["MemoryBot"]):
    """Tells the failures that no cog tells."""

    async def interaction_check(self, interaction: discord.Interaction[MemoryBot], /) -> bool:
        """Go on, unless there is no memory to ask; then say so."""
        return not await interaction.client.memory_is_out_of_order(interaction)

    async def on_error(self, interaction: discord.Interaction[Any], error: app_commands.AppCommandError, /) -> None:
        """Tell what went wrong, unless the command's own cog does."""
        command = interaction.command
        if command is None or not command._has_any_error_handlers():
            services: SurfaceServices | None = getattr(interaction.client, SERVICES, None)
            await (services.failures if services else Failures()).report(interaction, error)


class MemoryBot(commands.AutoShardedBot):
    """A bot that is nothing but the memory, and replies out of it.

    Args:
        profile: how to use this machine.
        folder: where the memory is kept.
        shards: those that this process runs; None for all.
        members: whether to hear of members, if that is switched on in the developer portal.
    """

    def __init__(
        self, profile: MemoryProfile, folder: Path, shards: Shards | None = None, *, members: bool = True
    ) -> None:
        discord.VoiceClient.warn_nacl = discord.VoiceClient.warn_dave = False  # nothing is said aloud here
        some: dict[str, Any] = {} if shards is None else {"shard_ids": list(shards.ids), "shard_count": shards.count}
        super().__init__(
            commands.when_mentioned,
            intents=memory_intents(direct_messages=load_settings().chat_direct_messages, members=members),
            chunk_guilds_at_startup=False,  # see `roster`
            allowed_mentions=discord.AllowedMentions.none(),
            help_command=None,
            tree_cls=MemoryTree,
            max_messages=1000,
            **some,
        )
        self.memory_profile = profile
        self.memory_folder = folder
        self.memory_problem: str | None = None
        """Why there is no memory at the moment."""
        self._asked = asyncio.Event()
        self._reopening: asyncio.Task[None] | None = None
        self._command_sync = CommandSync(self)
        self._heartbeat = Heartbeat(self, folder)

    async def setup_hook(self) -> None:
        """Open the memory and bring the commands up to date, before the first event."""
        self._settle_members_intent()
        await self._open_memory()
        self._heartbeat.start()
        if self.memory_problem is not None:
            self._reopening = asyncio.create_task(self._reopen_memory(), name="memory reopening")

    async def close(self) -> None:
        """Leave Discord and let go of the memory."""
        if self._reopening is not None:
            self._reopening.cancel()
        self._command_sync.close()
        await self._heartbeat.close()
        await super().close()

    async def on_message(self, message: discord.Message, /) -> None:
        """Look for no commands in it: there are none that are written as text."""

    def _settle_members_intent(self) -> None:
        """Ask for the members intent only where it is switched on, for to ask in vain ends the connection."""
        flags = self.application_flags
        if self.intents.members and not (flags.gateway_guild_members or flags.gateway_guild_members_limited):
            self._connection._intents.members = False
        log.info(MEMBERS_HEARD if self.intents.members else MEMBERS_NOT_HEARD)

    async def on_member_join(self, member: discord.Member) -> None:
        """Keep the cache of members small."""
        trim_members(member.guild)

    async def on_member_update(self, _: discord.Member, member: discord.Member) -> None:
        """Keep the cache of members small."""
        trim_members(member.guild)

    async def on_interaction(self, interaction: discord.Interaction[Any]) -> None:
        """Answer the buttons of a memory that is not there; what the tree gets, it answers itself."""
        if interaction.type in (discord.InteractionType.component, discord.InteractionType.modal_submit):
            await self.memory_is_out_of_order(interaction)

    async def memory_is_out_of_order(self, interaction: discord.Interaction[Any]) -> bool:
        """Whether there is no memory; if so, tell the user why, and look whether it can be opened by now."""
        if self.memory_problem is None:
            return False
        self._asked.set()
        sentence = texts_of(interaction).out_of_order.format(reason=self.memory_problem)
        await Failures().report(interaction, MemoryCogError(sentence))
        return True

    async def _open_memory(self) -> None:
        """Load the memory; stay without one where the disk or the file is at fault and may be mended meanwhile.

        Raises:
            ExtensionFailed: it cannot be loaded for another reason, which only its operator can mend.
        """
        try:
            await self.load_extension("cogs.memory")
        except commands.ExtensionFailed as error:
            # Not by its class: discord.py drops the modules of an extension that failed, and imports others next time.
            if not getattr(error.original, "may_pass", False):
                raise
            if self.memory_problem != str(error.original):
                log.error("The bot runs without its memory: %s", error.original)
            self.memory_problem = str(error.original)
            return
        self.memory_problem = None
        await self.load_extension("cogs.chat")
        await self._command_sync.start()

    async def _reopen_memory(self) -> None:
        while self.memory_problem is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(REOPEN_S):
                    await self._asked.wait()
            self._asked.clear()
            try:
                await self._open_memory()
            except (commands.ExtensionFailed, discord.HTTPException) as error:
                log.error("The memory could not be opened again", exc_info=error)
        log.info("The memory is back")

    async def on_ready(self) -> None:
        """Say that the bot is there."""
        log.info("Connected as %s, on %d servers", self.user, len(self.guilds))


def run_bot(
    token: str,
    memory_profile: MemoryProfile,
    folder: Path,
    *,
    shards: Shards | None = None,
    say: Callable[[str], None] | None = None,
) -> int:
    """Run the bot until it cannot go on, and return the exit code; told to stop, the process ends in here with 0.

    Args:
        token: of the bot.
        memory_profile: how to use this machine.
        folder: where the memory is kept.
        shards: those that this process runs; None for all.
        say: gets the one sentence that tells why the bot could not start or go on; by default it goes to stderr.
    """
    return asyncio.run(_run(token, partial(MemoryBot, memory_profile, folder, shards), say or _to_stderr))


async def _run(token: str, new_bot: Callable[..., MemoryBot], say: Callable[[str], None]) -> int:
    stop = StopSignal()
    bot = new_bot()
    running = await _until_end_or_stop(token, bot, stop)
    refused = not stop.requested and isinstance(running.exception(), discord.PrivilegedIntentsRequired)
    if refused and bot.intents.members and content_is_switched_on(bot.application_flags):
        log.warning("Discord refuses an intent; trying without that of server members, which is no need")
        running = await _until_end_or_stop(token, new_bot(members=False), stop)
    if stop.requested:
        log.info("Stopped as asked")
        end_process()
    return _exit_code(running, say)


async def _until_end_or_stop(token: str, bot: MemoryBot, stop: StopSignal) -> asyncio.Task[None]:
    """Run a bot until it ends, or is told to; return the task in which it ran, which is done."""
    running = asyncio.create_task(bot.start(token), name="discord")
    stopping = asyncio.create_task(stop.wait(), name="stop signal")
    await asyncio.wait([running, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    try:
        async with asyncio.timeout(DRAIN_S):
            await _close(bot, running)
    except TimeoutError:
        log.error("Closing took longer than %.0f s; what waits is taken up at the next start", DRAIN_S)
    return running


def trim_members(guild: discord.Guild) -> None:
    """Let go of cached members of a large server, but for the bot and those that overwrites name."""
    if len(guild._members) <= KEPT_MEMBERS or (guild.member_count or 0) <= COUNTED_MEMBERS:
        return
    channels = [channel_rules(channel) for channel in guild.channels if isinstance(channel, RuledChannel)]
    named = {member_id for channel in channels for member_id in channel.member_overwrites}
    for member in [member for member in guild.members if member != guild.me and member.id not in named]:
        guild._remove_member(member)


async def _close(bot: MemoryBot, running: asyncio.Task[None]) -> None:
    """Let the bot end; one that is still starting is interrupted, and lets go of what it opened so far."""
    if getattr(bot, SERVICES, None) is None:
        running.cancel()
        await asyncio.wait([running])
    await bot.close()
    running.cancel()
    await asyncio.wait([running])


def _exit_code(running: asyncio.Task[None], say: Callable[[str], None]) -> int:
    error = running.exception()
    if error is None:
        return 0
    sentence = _sentence(error)
    if sentence is None:
        log.critical("The bot stopped", exc_info=error)
        sentence = "The bot stopped because of an error in itself; the log has it all."
    say(sentence)
    return 1


def _sentence(error: BaseException) -> str | None:
    """What the operator can do about an error; ``None`` if nothing."""
    if isinstance(error, commands.ExtensionFailed):
        error = error.original
    code = error.code if isinstance(error, discord.ConnectionClosed) else 0
    if isinstance(error, discord.LoginFailure) or code == AUTHENTICATION_FAILED:
        return REFUSED
    if code:
        return CLOSED.format(code=code)
    if isinstance(error, discord.PrivilegedIntentsRequired):
        return NO_CONTENT
    if isinstance(error, (MemoryCogError, ProfileError, SettingsError)):
        return str(error)
    if isinstance(error, (aiohttp.ClientError, discord.GatewayNotFound, discord.HTTPException, OSError)):
        return UNREACHABLE.format(reason=str(error) or type(error).__name__)
    return None


def _to_stderr(sentence: str) -> None:
    print(sentence, file=sys.stderr)
