"""`ChatCog`: replies to those who talk to the bot."""

from __future__ import annotations

import asyncio
import logging
import secrets
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import discord
from cachetools import TTLCache
from discord.ext import commands

from cogs.chat.chat_settings import ChatSettings
from cogs.chat.conversation_reading import read_turns
from cogs.chat.providers.reply_texts import reply_texts_for
from cogs.chat.readers import ChannelReaders
from cogs.chat.reply_flow import Order, reply
from cogs.chat.request import FLAG, parse_request
from cogs.chat.sending import DiscordPage
from cogs.chat.texts import chat_texts_for
from cogs.chat.triggers import asks, is_said_by_a_person, text_without_address, trigger_of
from cogs.memory.exceptions import Busy, MemoryCogError
from cogs.memory.surface.markup import escape
from cogs.memory.surface.recall.turns import Turns
from cogs.memory.surface.texts import texts_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cogs.chat.request import Request
    from cogs.chat.services import ChatServices
    from cogs.chat.texts import ChatTexts
    from cogs.chat.triggers import Trigger
    from cogs.memory.surface.access import Permit

log = logging.getLogger(__name__)

WINDOW_S: Final = 60.0
PER_USER: Final = 6
"""Replies to one user within `WINDOW_S`."""
PER_CHANNEL: Final = 20
"""Replies in one channel within `WINDOW_S`."""


class ChatCog(commands.Cog):
    """Replies when it is mentioned or replied to, and to everything where a server's admins want that.

    Args:
        services: the memory's services and those of the chat.
    """

    def __init__(self, services: ChatServices) -> None:
        self.services = services
        self._users = Turns(PER_USER, WINDOW_S)
        self._channels = Turns(PER_CHANNEL, WINDOW_S)
        self._under_way: set[asyncio.Task[Any]] = set()
        self._told: TTLCache[int, bool] = TTLCache(maxsize=10_000, ttl=WINDOW_S)

    async def cog_load(self) -> None:
        """Take up what became stale while the bot was off."""
        self.services.retraction.start()

    async def cog_unload(self) -> None:
        """Stop what runs behind it; replies that are being written end where they are."""
        for task in self._under_way:
            task.cancel()
        await self.idle()
        await self.services.retraction.close()

    async def idle(self) -> None:
        """Wait until no reply is being written."""
        while self._under_way:
            await asyncio.wait(set(self._under_way))
            await asyncio.sleep(0)  # the tasks take themselves out

    @commands.Cog.listener()
    async def on_message(self, message: discord.Message) -> None:
        """Reply, if the message is for the bot."""
        task = asyncio.current_task()
        if task is not None:
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        if not is_said_by_a_person(message):
            return
        if message.guild is None:
            if self.services.direct_messages:
                await self._in_turn(message, "direct", ChatSettings())
            return
        try:
            settings = await self.services.settings.get(message.guild.id)
        except MemoryCogError as error:
            log.error("Guild %d: %s", message.guild.id, error)
            return
        trigger = trigger_of(message, self._me, settings)
        if trigger is not None and _may_write(message):
            await self._in_turn(message, trigger, settings)

    async def _in_turn(self, message: discord.Message, trigger: Trigger, settings: ChatSettings) -> None:
        """Reply when it is the author's turn, and say what went wrong if something does."""
        locale = message.guild.preferred_locale if message.guild else None
        page = DiscordPage(message, chat_texts_for(locale), self.services.retraction)
        try:
            with self._users.take(message.author.id, texts_for(locale)):
                self._channels.note(message.channel.id, texts_for(locale))
                await self._reply(message, trigger, settings, page)
        except Busy as error:
            if trigger != "always" and message.author.id not in self._told:
                self._told[message.author.id] = True
                await self._say(page, escape(str(error)))
        except MemoryCogError as error:
            await self._say(page, escape(str(error)))
        except (discord.HTTPException, discord.RateLimited, aiohttp.ClientError, OSError) as error:
            log.warning("A reply could not be sent (%s)", type(error).__name__)
        except Exception:
            error_id = secrets.token_hex(3)
            log.exception("Error %s in a reply", error_id)
            await self._say(page, chat_texts_for(locale).went_wrong.format(error_id=error_id))
        finally:
            if page.reply_id is not None:
                self.services.retraction.written(page.reply_id)

    async def _say(self, page: DiscordPage, sentence: str) -> None:
        try:
            await page.say(sentence)
        except (discord.HTTPException, discord.RateLimited, aiohttp.ClientError, OSError) as error:
            log.warning("A sentence could not be sent (%s)", type(error).__name__)

    async def _reply(
        self, message: discord.Message, trigger: Trigger, settings: ChatSettings, page: DiscordPage
    ) -> None:
        surface, guild = self.services.memory, message.guild
        texts = chat_texts_for(guild.preferred_locale if guild else None)
        request = parse_request(text_without_address(message, self._me))
        if not request.text:
            if trigger != "always":
                await page.say((texts.help if guild else texts.help_direct).format(flag=FLAG))
            return
        async with _typing(message.channel):
            author = await surface.access.author_of(message)
            permit = await surface.access.public(guild, author, message.channel.id)
            order = await self._order(message, request, settings, permit, texts)
            if guild is not None and order.provider is not self.services.providers.quoting:
                self.services.counters.begin(guild.id)
            cost = await reply(order, ChannelReaders(surface, message), page)
        self.services.counters.add(guild.id if guild else 0, cost)

    async def _order(
        self, message: discord.Message, request: Request, settings: ChatSettings, permit: Permit, texts: ChatTexts
    ) -> Order:
        guild = message.guild
        why_not = await self._why_no_memory(message, request, settings, permit, texts)
        provider, notes = self.services.provider_of(permit.guild_id, settings, texts)
        opted_out = await self.services.memory.settings.opted_out(guild.id) if guild else frozenset[int]()
        turns = await read_turns(
            message,
            request.text,
            self._me,
            # Quotes need no conversation. Who reads along must be able to read what was said before, or it stays out.
            earlier=provider is not self.services.providers.quoting
            and (guild is None or message.channel.id in permit.channel_ids),
            left_out=opted_out - {message.author.id},
        )
        return Order(
            question=request.text,
            turns=turns,
            provider=provider,
            texts=reply_texts_for(guild.preferred_locale if guild else None),
            instead=texts.instead(why_not),
            uses_memory=why_not is None,
            is_noise=partial(asks, guild.me.display_name if guild else self._me.display_name),
            persona=settings.persona,
            memory_tokens=settings.memory_tokens,
            notes=notes,
        )

    @property
    def _me(self) -> discord.ClientUser:
        me = self.services.memory.bot.user
        if me is None:
            raise RuntimeError("a message came before the bot was logged in")
        return me

    async def _why_no_memory(
        self, message: discord.Message, request: Request, settings: ChatSettings, permit: Permit, texts: ChatTexts
    ) -> str | None:
        """Return the sentence that says why the memory stays out of a reply; None if it may be used."""
        if message.guild is None:
            return texts.memory_direct
        if not settings.memory:
            return texts.memory_off
        if await self.services.memory.settings.is_opted_out(message.guild.id, message.author.id):
            return texts.memory_opted_out
        if not request.wants_memory:
            return texts.memory_unwanted
        return None if permit.channel_ids else texts.memory_closed


@asynccontextmanager
async def _typing(place: discord.abc.Messageable) -> AsyncIterator[None]:
    """Show that the bot types; where that fails, it replies all the same."""
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(place.typing())
        except (discord.HTTPException, discord.RateLimited, aiohttp.ClientError, OSError) as error:
            log.info("Typing could not be shown (%s)", type(error).__name__)
        yield


def _may_write(message: discord.Message) -> bool:
    """Whether the bot may write where the message stands."""
    place = message.channel
    if message.guild is None:
        return True
    if isinstance(place, discord.Thread):
        return place.parent is not None and place.permissions_for(message.guild.me).send_messages_in_threads
    rights = place.permissions_for(message.guild.me)
    return rights.view_channel and rights.send_messages
