"""Gateway payloads of the oracle's worlds, a bot that receives them, and the few REST routes it may ask."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import discord
from aiohttp import web
from discord.ext import commands

from cogs.memory.surface.discord_access import AccessRules
from tests.surface import permission_oracle as oracle

if TYPE_CHECKING:
    from collections.abc import Callable

Payload = dict[str, Any]
GUILD, OWNER, ANN, BOB, BOT = 1000, 1, 2, 3, 99
STAFF, RED = 1001, 1002
OPEN, CLOSED, ADULT = 2000, 2001, 2002
SECRET_THREAD = 3000
HIDDEN = oracle.Overwrite(GUILD, is_role=True, allow=0, deny=oracle.VIEW)


def shown(role: int) -> oracle.Overwrite:
    return oracle.Overwrite(role, is_role=True, allow=oracle.VIEW, deny=0)


# Payloads as the gateway sends them.


def role_payload(role_id: int, permissions: int) -> Payload:
    return {
        "id": str(role_id),
        "name": f"role-{role_id}",
        "permissions": str(permissions),
        "position": 0 if role_id == GUILD else 1,
        "color": 0,
        "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None},
        "hoist": False,
        "managed": False,
        "mentionable": False,
        "flags": 0,
    }


def channel_payload(channel_id: int, channel: oracle.Channel) -> Payload:
    return {
        "id": str(channel_id),
        "guild_id": str(GUILD),
        "type": channel.type,
        "name": f"channel-{channel_id}",
        "position": 0,
        "nsfw": channel.nsfw,
        "bitrate": 64000,
        "user_limit": 0,
        "permission_overwrites": [
            {"id": str(o.id), "type": 0 if o.is_role else 1, "allow": str(o.allow), "deny": str(o.deny)}
            for o in channel.overwrites
        ],
    }


def thread_payload(thread_id: int, thread: oracle.Thread, *, archived: bool = False) -> Payload:
    return {
        "id": str(thread_id),
        "guild_id": str(GUILD),
        "parent_id": str(thread.parent),
        "owner_id": str(OWNER),
        "type": thread.type,
        "name": f"thread-{thread_id}",
        "message_count": 0,
        "member_count": 0,
        "thread_metadata": {
            "archived": archived,
            "auto_archive_duration": 60,
            "archive_timestamp": "2024-01-01T00:00:00+00:00",
        },
    }


def user_payload(user: int) -> Payload:
    return {"id": str(user), "username": f"user-{user}", "discriminator": "0", "avatar": None}


def member_payload(user: int, member: oracle.Member) -> Payload:
    until = datetime.now(UTC) + timedelta(hours=1)
    return {
        "user": user_payload(user),
        "roles": [str(role) for role in member.roles],
        "joined_at": "2024-01-01T00:00:00+00:00",
        "communication_disabled_until": until.isoformat() if member.timed_out else None,
        "deaf": False,
        "mute": False,
        "flags": 0,
    }


def thread_members_payload(*, added: int = 0, removed: int = 0) -> Payload:
    entry = {"id": str(SECRET_THREAD), "user_id": str(added), "join_timestamp": "2024-01-01T00:00:00+00:00", "flags": 0}
    return {
        "id": str(SECRET_THREAD),
        "guild_id": str(GUILD),
        "member_count": 1,
        "added_members": [entry] if added else [],
        "removed_member_ids": [str(removed)] if removed else [],
    }


def guild_payload(world: oracle.World, *, with_members: bool = True) -> Payload:
    return {
        "id": str(world.id),
        "name": "A guild",
        "owner_id": str(world.owner),
        "unavailable": False,
        "member_count": len(world.members),
        "roles": [role_payload(role_id, bits) for role_id, bits in world.roles.items()],
        "channels": [channel_payload(channel_id, channel) for channel_id, channel in world.channels.items()],
        "threads": [
            thread_payload(i, thread) for i, thread in world.threads.items() if thread.parent in world.channels
        ],
        "members": [member_payload(user, member) for user, member in world.members.items()] if with_members else [],
    }


def small_world() -> oracle.World:
    usual = oracle.VIEW | oracle.HISTORY
    return oracle.World(
        id=GUILD,
        owner=OWNER,
        roles={GUILD: usual, STAFF: usual | oracle.MANAGE_THREADS, RED: 0},
        members={OWNER: oracle.Member([]), ANN: oracle.Member([RED]), BOB: oracle.Member([STAFF])},
        channels={
            OPEN: oracle.Channel(oracle.TEXT),
            CLOSED: oracle.Channel(oracle.TEXT, [HIDDEN, shown(RED)]),
            ADULT: oracle.Channel(oracle.TEXT, nsfw=True),
        },
        threads={SECRET_THREAD: oracle.Thread(oracle.PRIVATE_THREAD, OPEN)},
    )


class Discord:
    """The REST side: who is in a thread, who is in the guild; anything can be made to fail."""

    def __init__(self) -> None:
        self.world = small_world()
        self.failing = False
        self.asked: Counter[str] = Counter()
        self.before_answer: Callable[[], None] = lambda: None
        """Called between the question and its answer."""

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/users/@me", self._me),
            web.get("/oauth2/applications/@me", self._application),
            web.get("/channels/{thread}/thread-members/{user}", self._thread_member),
            web.get("/channels/{thread}", self._thread),
            web.get("/guilds/{guild}/members/{user}", self._member),
        ]

    async def _me(self, _: web.Request) -> web.Response:
        return json_answer({**user_payload(BOT), "bot": True})

    async def _application(self, _: web.Request) -> web.Response:
        return json_answer(
            {
                "id": str(BOT),
                "name": "bot",
                "description": "",
                "icon": None,
                "bot_public": True,
                "bot_require_code_grant": False,
                "verify_key": "0",
                "flags": 0,
                "owner": user_payload(OWNER),
            }
        )

    async def _thread_member(self, request: web.Request) -> web.Response:
        self.asked["thread member"] += 1
        self.before_answer()
        thread = self.world.threads.get(int(request.match_info["thread"]))
        user = int(request.match_info["user"])
        if self.failing:
            return json_answer({"message": "down"}, 503)
        if thread is None or user not in thread.joined:
            return json_answer({"message": "Unknown", "code": 10007}, 404)
        entry = {"id": request.match_info["thread"], "user_id": str(user), "flags": 0}
        return json_answer({**entry, "join_timestamp": "2024-01-01T00:00:00+00:00"})

    async def _thread(self, request: web.Request) -> web.Response:
        self.asked["channel"] += 1
        thread_id = int(request.match_info["thread"])
        return json_answer(thread_payload(thread_id, self.world.threads[thread_id], archived=True))

    async def _member(self, request: web.Request) -> web.Response:
        self.asked["member"] += 1
        self.before_answer()
        user = int(request.match_info["user"])
        if self.failing:
            return json_answer({"message": "down"}, 503)
        if user not in self.world.members:
            return json_answer({"message": "Unknown Member", "code": 10007}, 404)
        return json_answer(member_payload(user, self.world.members[user]))


def json_answer(body: Payload, status: int = 200) -> web.Response:
    # discord.py reads a body as JSON only when no charset follows.
    headers = {"Content-Type": "application/json"}
    return web.Response(body=json.dumps(body).encode(), status=status, headers=headers)


class Bot(commands.Bot):
    """A bot without a gateway: ``receive`` takes the place of the socket."""

    def __init__(self, *, members: bool) -> None:
        intents = discord.Intents(guilds=True, members=members)
        super().__init__("!", intents=intents, chunk_guilds_at_startup=False)

    def receive(self, event: str, payload: Payload) -> None:
        self._connection.parsers[event](payload)

    async def settle(self) -> None:
        """Let the listeners of received events run."""
        for _ in range(3):
            await asyncio.sleep(0)


async def start(world: oracle.World, *, members: bool = True) -> Bot:
    bot = Bot(members=members)
    await bot.login("token")
    bot.receive("GUILD_CREATE", guild_payload(world, with_members=members))
    return bot


def listening(bot: Bot) -> AccessRules:
    rules = AccessRules(bot)
    rules.listen()
    return rules


def guild_of(bot: Bot) -> discord.Guild:
    guild = bot.get_guild(GUILD)
    assert guild is not None
    return guild


def carried(bot: Bot, user: int, member: oracle.Member) -> discord.Member:
    """The member as an interaction or a message brings him."""
    data: Any = member_payload(user, member)
    return discord.Member(data=data, guild=guild_of(bot), state=bot._connection)


def ann_of(bot: Bot) -> discord.Member:
    return carried(bot, ANN, oracle.Member([RED]))
