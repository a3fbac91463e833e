"""Commands are sent to Discord only when their definitions have changed: it allows few changes a day."""

from __future__ import annotations

import hashlib
import json
import logging
from typing import TYPE_CHECKING, Any, Final

from cogs.memory.surface.operation.shards import shards_of
from cogs.memory.surface.services import SERVICES

if TYPE_CHECKING:
    from cogs.memory.surface.services import Bot, SurfaceServices

log = logging.getLogger(__name__)

SYNCED_KEY: Final = "synced-commands"
"""Setting of guild 0: the application and the fingerprint of the commands that it has."""


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
