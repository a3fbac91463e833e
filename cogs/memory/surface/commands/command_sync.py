"""Commands are sent to Discord only when their definitions have changed: it allows few changes a day."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import discord

from cogs.memory.exceptions import StoreError
from cogs.memory.surface.operation.shards import shards_of
from cogs.memory.surface.services import SERVICES

if TYPE_CHECKING:
    from cogs.memory.surface.services import Bot, SurfaceServices

log = logging.getLogger(__name__)

SYNCED_KEY: Final = "synced-commands"
"""Setting of guild 0: the application and the fingerprint of the commands that it has."""


FIRST_PAUSE_S: Final = 5.0
LONGEST_PAUSE_S: Final = 3600.0
_NOT_TAKEN: Final = (discord.DiscordException, aiohttp.ClientError, OSError)


class CommandSync:
    """Sends the commands; as long as Discord does not take them, those that it has go on working.

    Args:
        bot: with the memory's extension loaded.
        first_pause_s: seconds before the second attempt; each further pause is twice as long.
    """

    def __init__(self, bot: Bot, *, first_pause_s: float = FIRST_PAUSE_S) -> None:
        self._bot = bot
        self._pause_s = first_pause_s
        self._again: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Try once now, and if need be later until it succeeds. Raises StoreError."""
        try:
            await sync_commands(self._bot)
        except _NOT_TAKEN as error:
            self._note(error)
            self._again = asyncio.create_task(self._try_again(), name="command sync")

    def close(self) -> None:
        """Try no more."""
        if self._again is not None:
            self._again.cancel()

    async def _try_again(self) -> None:
        while True:
            await asyncio.sleep(self._pause_s)
            self._pause_s = min(LONGEST_PAUSE_S, 2 * self._pause_s)
            try:
                await sync_commands(self._bot)
            except (*_NOT_TAKEN, StoreError) as error:
                self._note(error)
            else:
                return

    def _note(self, error: Exception) -> None:
        log.error("Discord did not take the commands (%s); tried again in %.0f s", error, self._pause_s)


async def sync_commands(bot: Bot, *, force: bool = False) -> bool:
    """Send the bot's commands to Discord if they differ from what was sent last; return whether they were sent.

    Of a bot of several processes only that of shard 0 does.

    Args:
        bot: with the memory's extension loaded.
        force: send them in any case.
    """
    if 0 not in shards_of(bot).ids and not force:
        log.debug("The process of shard 0 sends the commands")
        return False
    services: SurfaceServices = getattr(bot, SERVICES)
    store = services.memory.store
    fingerprint = f"{bot.application_id}:{await fingerprint_of(bot)}"
    if not force and await store.get_setting(0, SYNCED_KEY) == fingerprint:
        log.debug("The commands have not changed")
        return False
    synced = await bot.tree.sync()
    await store.put_setting(0, SYNCED_KEY, fingerprint)
    log.info("Sent %d commands to Discord", len(synced))
    return True


async def fingerprint_of(bot: Bot) -> str:
    """Return a hash of the global commands with all their translations."""
    translator = bot.tree.translator
    payloads: list[dict[str, Any]] = []
    for command in bot.tree._get_all_commands(guild=None):
        if translator is None:
            payloads.append(command.to_dict(bot.tree))
        else:
            payloads.append(await command.get_translated_payload(bot.tree, translator))
    text = json.dumps(sorted(payloads, key=lambda payload: (payload["type"], payload["name"])), sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
