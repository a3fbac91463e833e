"""Messages, scopes and vectors for the store tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from cogs.memory.records import Embedding, Scope, Space, StoredMessage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from cogs.memory.records import Hit
    from cogs.memory.stores import MemoryStore
    from cogs.memory.stores.postgres import PostgresStore

DIM = 16
SPACE = Space("model", "1", DIM, "float16", sketch_dim=32)
OTHER_SPACE = Space("other model", "1", DIM, "float16", sketch_dim=32)
START = datetime(2024, 5, 1, 12, 0, tzinfo=UTC)
GUILD, OTHER_GUILD = 1, 2
LOBBY, GARDEN, CELLAR = 10, 11, 12
BOB: dict[str, Any] = {"author_id": 200, "author_name": "Bob"}


def message(id_: int, content: str = "hello there", **fields: Any) -> StoredMessage:
    """A message in the lobby by author 100, a minute a number after the start."""
    given: dict[str, Any] = {
        "guild_id": GUILD,
        "channel_id": LOBBY,
        "author_id": 100,
        "author_name": "Alice",
        "created_at": START + timedelta(minutes=id_),
    } | fields
    return StoredMessage(id=id_, content=content, **given)


def scope(*channels: int, guild: int = GUILD, **filters: Any) -> Scope:
    """The given channels; without any, all three."""
    return Scope(guild, frozenset(channels or (LOBBY, GARDEN, CELLAR)), **filters)


def vector(seed: int, dim: int = DIM) -> NDArray[np.float32]:
    """A unit vector in a direction of its own."""
    direction = np.random.default_rng(seed).standard_normal(dim).astype(np.float32)
    return np.asarray(direction / np.linalg.norm(direction), dtype=np.float32)


def embedding(of: StoredMessage, seed: int | None = None) -> Embedding:
    """An embedding that fits the text of a message."""
    made = vector(of.id if seed is None else seed).astype(np.float16)
    return Embedding(of.id, of.content_hash, made, of.id.to_bytes(8, "big"))


async def embed_all(store: MemoryStore) -> None:
    """Embed whatever awaits it; the vector of a message is that of its id."""
    while waiting := await store.claim_unembedded(500):
        await store.put_embeddings([embedding(m) for m in waiting])


async def fill(store: MemoryStore, messages: Iterable[StoredMessage]) -> None:
    """Store and embed messages."""
    await store.upsert(list(messages))
    await embed_all(store)


def ids(hits: list[Hit]) -> list[int]:
    return [hit.message_id for hit in hits]


async def found(store: MemoryStore, *terms: str, where: Scope | None = None) -> set[int]:
    return set(ids(await store.lexical(where or scope(), terms, 100)))


def in_scope(m: StoredMessage, where: Scope) -> bool:
    facts = {"code": "`" in m.content, "link": "https" in m.content}
    return (
        m.channel_id in where.channel_ids
        and (where.author_ids is None or m.author_id in where.author_ids)
        and (where.after is None or m.created_at >= where.after)
        and (where.before is None or m.created_at < where.before)
        and all(facts[name] for name in where.has)
    )


TABLES = (
    *("guilds", "messages", "search", "vectors", "sketches", "tombstones", "erasures", "channels", "settings"),
    *("replies", "reply_sources"),
)


async def emptied(store: PostgresStore) -> PostgresStore:
    """Open a store on a server that other tests have used, and take out what they left."""
    await store.open()
    async with store._connections.transaction() as connection:
        await connection.execute("; ".join(f"DELETE FROM {table}" for table in TABLES))
    return store


async def check_counts(store: PostgresStore) -> None:
    """What is counted along the way is what counting finds, and every message has its entry and its vector's row."""
    for documents, guild in await store.connections.read("SELECT g.documents, g.guild_id FROM guilds g"):
        for table in ("messages", "search", "vectors"):
            [[count]] = await store.connections.read(f"SELECT count(*) FROM {table} WHERE guild_id = $1", guild)
            assert count == documents, table
