"""The loopback Discord's gateway: sessions, sharding, resuming, and events for those who may have them."""

from __future__ import annotations

import asyncio
import json
import secrets
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import WSMsgType, web

from .events import Intent, guild_create_json, render
from .payloads import member_json, user_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .errors import Json
    from .guilds import Guild
    from .people import Member
    from .world import Change, World

DISPATCH, HEARTBEAT, IDENTIFY, PRESENCE, RESUME, RECONNECT = 0, 1, 2, 3, 6, 7
REQUEST_MEMBERS, INVALID_SESSION, HELLO, HEARTBEAT_ACK = 8, 9, 10, 11

AUTHENTICATION_FAILED, INVALID_SHARD, DISALLOWED_INTENTS, RECONNECT_PLEASE = 4004, 4010, 4014, 4000
_ENDS_SESSION = (1000, 1001)
_CHUNK = 1000


@dataclass(eq=False)
class Session:
    """One shard's session: what it was sent, and the connection it has at the moment."""

    id: str
    shard: tuple[int, int]
    intents: int
    sequence: int = 0
    sent: list[tuple[int, str, Json]] = field(default_factory=list)
    """(sequence number, event, data) of everything dispatched, for resuming and for tests to look at."""
    connection: Connection | None = None
    rewrite: Callable[[str, Json], Json] = lambda _, data: data

    def dispatch(self, event: str, data: Json) -> None:
        """Send an event now, or keep it for a resume when nobody is connected."""
        data = self.rewrite(event, data)
        self.sequence += 1
        self.sent.append((self.sequence, event, data))
        if self.connection is not None:
            self.connection.send(DISPATCH, data, sequence=self.sequence, event=event)

    def has(self, guild: Guild | None) -> bool:
        """Whether a guild's events (None: those of direct messages) belong to this shard."""
        index, count = self.shard
        return (0 if guild is None else (guild.id >> 22) % count) == index


class Connection:
    """One websocket: frames leave in order through a queue, so that changing the world never waits."""

    def __init__(self, socket: web.WebSocketResponse, transport: asyncio.Transport | None) -> None:
        self.socket = socket
        self._transport = transport
        self.session: Session | None = None
        self.heartbeats = 0
        self._outgoing: asyncio.Queue[str | None] = asyncio.Queue()
        self._barriers: list[asyncio.Future[None]] = []

    def send(self, op: int, data: Any = None, *, sequence: int | None = None, event: str | None = None) -> None:
        """Queue one frame."""
        self._outgoing.put_nowait(json.dumps({"op": op, "d": data, "s": sequence, "t": event}))

    async def write(self) -> None:
        """Send queued frames until the connection ends."""
        while (frame := await self._outgoing.get()) is not None:
            try:
                await self.socket.send_str(frame)
            except ConnectionError:
                return

    def heartbeat(self) -> None:
        """Answer a heartbeat, which also proves that the bot has taken in all earlier frames."""
        self.heartbeats += 1
        self.send(HEARTBEAT_ACK)
        for barrier in self._barriers:
            if not barrier.done():
                barrier.set_result(None)
        self._barriers.clear()

    async def barrier(self) -> None:
        """Ask for a heartbeat and wait for it."""
        barrier: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._barriers.append(barrier)
        self.send(HEARTBEAT)
        await barrier

    def finish(self) -> None:
        """Let the writer end, and who waits for a heartbeat."""
        self._outgoing.put_nowait(None)
        for barrier in self._barriers:
            if not barrier.done():
                barrier.set_exception(ConnectionError("the bot's connection ended"))

    def abort(self) -> None:
        """Cut the TCP connection without a close frame."""
        if self._transport is not None:
            self._transport.abort()


class Gateway:
    """Speaks the gateway protocol with every shard, and lets tests play tricks on it."""

    def __init__(self, world: World, token: str) -> None:
        self.world = world
        self.token = token
        self.url = ""
        self.heartbeat_interval_ms = 41_250
        self.shards = 1
        """How many shards Discord recommends; an automatically sharded bot starts as many."""
        self.sessions: dict[str, Session] = {}
        self.identifies = 0
        """How many sessions were started so far."""
        self.resumes = 0
        """How many connections were resumed so far."""
        self.refusals: list[int] = []
        """The close codes with which sessions were refused, e.g. 4014 for an intent that is not switched on."""
        self.member_requests: list[Json] = []
        """Every request for members of a guild, as it came."""
        self.answers_member_requests = True
        self.rewrite: Callable[[str, Json], Json] = lambda _, data: data
        """Turns the data of each event into what is sent, in sessions begun later: Discord may leave out much."""
        self._open: set[Connection] = set()
        self._held: list[Change] | None = None
        world.subscribe(self._on_change)

    # --- what tests do

    @property
    def live(self) -> list[Session]:
        """The sessions that are connected now."""
        return [each for each in self.sessions.values() if each.connection is not None]

    def dispatch(self, event: str, data: Json, *, guild: Guild | None = None) -> None:
        """Send any event as it is, to the shard of `guild`; for malformed, unknown or misordered ones."""
        for session in self.sessions.values():
            if session.has(guild):
                session.dispatch(event, data)

    def repeat(self, last: int = 1) -> None:
        """Dispatch the last events of each session once more, as may happen around a resume."""
        for session in self.sessions.values():
            for _, event, data in session.sent[-last:]:
                session.dispatch(event, data)

    @contextmanager
    def reversed(self) -> Iterator[None]:
        """Hold back what happens in the ``with`` block and send it in reverse order at the end."""
        self._held = []
        try:
            yield
        finally:
            held, self._held = self._held, None
            for change in reversed(held):
                self._on_change(change)

    async def drop(self, *, code: int | None = None) -> None:
        """Break all connections; the sessions can be resumed. With a code, close them with it instead."""
        for connection in list(self._open):
            await self._disconnect(connection, code)

    async def invalidate(self, *, resumable: bool = False) -> None:
        """Tell all shards that their session is invalid; unless resumable, what they miss is never sent."""
        for session in list(self.sessions.values()):
            if not resumable:
                del self.sessions[session.id]
            if session.connection is not None:
                session.connection.send(INVALID_SESSION, resumable)

    def request_reconnect(self) -> None:
        """Ask all shards to reconnect, as the gateway does before maintenance."""
        for session in self.live:
            if session.connection is not None:
                session.connection.send(RECONNECT)

    async def barrier(self) -> None:
        """Wait until every connected shard has read everything sent so far (its listeners may still run)."""
        await asyncio.gather(*(each.barrier() for each in self._open if each.session))

    async def close(self) -> None:
        """End all connections with close code 1001, as a server that goes away."""
        for connection in list(self._open):
            await self._disconnect(connection, 1001)

    # --- the protocol

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one websocket from HELLO to its end."""
        socket = web.WebSocketResponse(max_msg_size=0)
        await socket.prepare(request)
        connection = Connection(socket, request.transport)
        self._open.add(connection)
        writer = asyncio.create_task(connection.write())
        connection.send(HELLO, {"heartbeat_interval": self.heartbeat_interval_ms})
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await self._receive(connection, json.loads(message.data))
        finally:
            self._open.discard(connection)
            connection.finish()
            await writer
            self._forget(connection)
        return socket

    async def _receive(self, connection: Connection, frame: Json) -> None:
        op, data = frame["op"], frame["d"]
        if op == HEARTBEAT:
            connection.heartbeat()
        elif op == IDENTIFY:
            await self._identify(connection, data)
        elif op == RESUME:
            self._resume(connection, data)
        elif op == REQUEST_MEMBERS and connection.session is not None:
            self._send_members(connection.session, data)

    async def _identify(self, connection: Connection, data: Json) -> None:
        shard = tuple(data.get("shard", (0, 1)))
        refusal = self._refusal(data, shard)
        if refusal is not None:
            self.refusals.append(refusal)
            await connection.socket.close(code=refusal)
            return
        self.identifies += 1
        self._discard(shard)
        session = Session(secrets.token_hex(8), shard, data["intents"], connection=connection, rewrite=self.rewrite)
        self.sessions[session.id] = session
        connection.session = session
        guilds = [each for each in self.world.guilds.values() if each.has_bot and session.has(each)]
        session.dispatch("READY", self._ready(session, guilds))
        for guild in guilds:
            if not guild.unavailable:
                session.dispatch("GUILD_CREATE", guild_create_json(guild, session.intents))

    def _discard(self, shard: tuple[int, ...]) -> None:
        """Let go the sessions that an earlier run of this shard has left behind."""
        left = [each for each in self.sessions.values() if each.shard == shard and each.connection is None]
        for session in left:
            del self.sessions[session.id]

    def _refusal(self, data: Json, shard: tuple[int, ...]) -> int | None:
        application = self.world.application
        privileged = {
            Intent.MESSAGE_CONTENT: application.message_content_intent,
            Intent.GUILD_MEMBERS: application.members_intent,
            Intent.GUILD_PRESENCES: application.presence_intent,
        }
        if data["token"] != self.token:
            return AUTHENTICATION_FAILED
        if any(data["intents"] & intent and not enabled for intent, enabled in privileged.items()):
            return DISALLOWED_INTENTS
        return None if len(shard) == 2 and 0 <= shard[0] < shard[1] else INVALID_SHARD

    def _ready(self, session: Session, guilds: list[Guild]) -> Json:
        application = self.world.application
        return {
            "v": 10,
            "user": user_json(self.world.bot),
            "guilds": [{"id": str(guild.id), "unavailable": True} for guild in guilds],
            "session_id": session.id,
            "resume_gateway_url": self.url,
            "shard": list(session.shard),
            "application": {"id": str(application.id), "flags": application.flags},
        }

    def _resume(self, connection: Connection, data: Json) -> None:
        session = self.sessions.get(data["session_id"])
        if session is None or data["token"] != self.token:
            connection.send(INVALID_SESSION, False)
            return
        self.resumes += 1
        connection.session = session
        session.connection = connection
        for sequence, event, payload in session.sent:
            if sequence > data["seq"]:
                connection.send(DISPATCH, payload, sequence=sequence, event=event)
        session.dispatch("RESUMED", {})

    def _send_members(self, session: Session, data: Json) -> None:
        self.member_requests.append(data)
        if not self.answers_member_requests:
            return
        guild = self.world.guilds.get(int(data["guild_id"]))
        if guild is None or not guild.has_bot:
            return
        wanted = _wanted_members(guild, data)
        if wanted is None and not session.intents & Intent.GUILD_MEMBERS:
            return
        members = list(guild.members.values()) if wanted is None else wanted
        chunks = [members[start : start + _CHUNK] for start in range(0, len(members), _CHUNK)] or [[]]
        for index, chunk in enumerate(chunks):
            payload = {
                "guild_id": str(guild.id),
                "members": [member_json(member) for member in chunk],
                "chunk_index": index,
                "chunk_count": len(chunks),
                "nonce": data.get("nonce"),
            }
            session.dispatch("GUILD_MEMBERS_CHUNK", payload)

    def _on_change(self, change: Change) -> None:
        if self._held is not None:
            self._held.append(change)
            return
        for session in self.sessions.values():
            if session.has(change.guild):
                content = bool(session.intents & Intent.MESSAGE_CONTENT)
                data = render(change, session.intents, with_content=content)
                if data is not None:
                    session.dispatch(change.event, data)

    async def _disconnect(self, connection: Connection, code: int | None) -> None:
        if connection.session is not None:
            connection.session.connection = None
        if code is None:
            connection.abort()
        else:
            await connection.socket.close(code=code)

    def _forget(self, connection: Connection) -> None:
        """Part with a connection; a clean close by the bot ends its session for good."""
        session = connection.session
        if session is not None and session.connection is connection:
            if connection.socket.close_code in _ENDS_SESSION:
                self.sessions.pop(session.id, None)
            session.connection = None


def _wanted_members(guild: Guild, data: Json) -> list[Member] | None:
    """The members that a request names by id or by the start of their name; None for all."""
    if data.get("user_ids"):
        ids = [int(each) for each in data["user_ids"]]
        return [guild.members[each] for each in ids if each in guild.members]
    if not data.get("query"):
        return None
    prefix = str(data["query"]).lower()
    matching = [each for each in guild.members.values() if each.display_name.lower().startswith(prefix)]
    return matching[: data.get("limit") or None]
