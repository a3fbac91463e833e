"""The methods that Red, a framework for modular bots, calls on a cog when a person's data are asked for or to go.

Their names, arguments and requester kinds are Red's: docs.discord.red, "Data handling for cogs".
"""

from __future__ import annotations

import io
import json
import logging
from typing import TYPE_CHECKING, Literal, get_args

from cogs.memory.exceptions import StoreError
from cogs.memory.personal_data import export_messages

from .departures import DUE_KEY, KNOWN_KEY

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .commands.command_services import CommandServices

log = logging.getLogger(__name__)

Requester = Literal["discord_deleted_user", "owner", "user", "user_strict"]


class RedData:
    """A mixin for the cog. The cog sets ``services`` and says which guilds its bot is on."""

    services: CommandServices

    def present_guild_ids(self) -> Iterable[int]:
        """Return the guilds that the bot is on; the cog overrides it."""
        raise NotImplementedError

    async def red_delete_data_for_user(self, *, requester: Requester, user_id: int) -> None:
        """Erase a user everywhere, whoever asks for it.

        No kind of request leaves messages behind: none are needed to run the bot. What stays is the id with the time
        of the erasure, without which a back-fill would read old messages in again. The user's wish not to be
        remembered stays, too, except when the account is gone and nothing new can come.

        Raises:
            ValueError: ``requester`` is none of Red's kinds.
            MemoryCogError: something could not be erased; what was erased until then stays so.
        """
        if requester not in get_args(Requester):
            raise ValueError(f"requester must be one of {', '.join(get_args(Requester))}, not {requester!r}")
        for guild_id in await self._guild_ids():
            await self.services.erasure.forget_user(guild_id, user_id)
            if requester == "discord_deleted_user":
                await self.services.settings.opt_in(guild_id, user_id)
        log.info("Erased the data of a user on request (%s)", requester)

    async def red_get_data_for_user(self, *, user_id: int) -> dict[str, io.BytesIO]:
        """Return a file of JSON for each server that something of the user is stored of. Raises StoreError."""
        files: dict[str, io.BytesIO] = {}
        for guild_id in await self._guild_ids():
            messages = await export_messages(self.services.memory.store, guild_id, user_id)
            opted_out = await self.services.settings.is_opted_out(guild_id, user_id)
            judged = [each for each in await self.services.judgements.of(guild_id) if each.user_id == user_id]
            if messages or judged or opted_out:
                judgements = [{"query": j.query, "message_id": str(j.message_id), "good": j.good} for j in judged]
                data = {"opted_out": opted_out, "judgements": judgements, "messages": messages}
                content = json.dumps(data, ensure_ascii=False, indent=1).encode()
                files[f"memory-{guild_id}.json"] = io.BytesIO(content)
        return files

    async def _guild_ids(self) -> list[int]:
        """The guilds that the bot is on, and those it left whose memory is still kept for the grace period."""
        ids = set(self.present_guild_ids())
        for key in (KNOWN_KEY, DUE_KEY):
            text = await self.services.memory.store.get_setting(0, key)
            try:
                ids.update(int(each) for each in json.loads(text or "[]"))
            except (TypeError, ValueError) as error:
                raise StoreError("The list of servers that the bot has left cannot be read.") from error
        return sorted(ids)
