"""Every statement carries the guild: it concerns one partition, or one node where guilds are spread over nodes."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cogs.memory.records import ChannelInfo, QuotingReply
from cogs.memory.stores import postgres_dense
from cogs.memory.stores.moving import Move
from cogs.memory.stores.moving_ends import opened_end
from cogs.memory.stores.postgres import PostgresStore
from cogs.memory.stores.postgres_connections import PostgresConnections
from cogs.memory.stores.sqlite import SqliteStore
from tests.postgres_server import TEST_SCHEMA
from tests.stores.samples import (
    GARDEN,
    GUILD,
    LOBBY,
    OTHER_GUILD,
    OTHER_SPACE,
    SPACE,
    START,
    embed_all,
    embedding,
    emptied,
    message,
    scope,
    vector,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

STORES = Path(__file__).parents[2] / "cogs" / "memory" / "stores"
NOT_OF_GUILDS = {"spaces": "which embedders there were", "schema_version": "how far migrations ran"}
OF_ALL_GUILDS = {
    "SELECT guild_id FROM guilds": "which guilds there are",
    "SELECT guild_id FROM guilds WHERE pending": "in which of them messages await embedding",
    "UPDATE guilds SET pending = true WHERE NOT pending": "a new embedder: in all of them",
    "SELECT DISTINCT guild_id FROM settings": "which guilds have settings, when a memory moves",
    "SELECT guild_id FROM guilds UNION SELECT guild_id FROM tombstones UNION SELECT guild_id FROM erasures"
    " UNION SELECT guild_id FROM channels UNION SELECT guild_id FROM replies": "which guilds there are, when it moves",
}
"""The only statements that are not of one guild, and what they ask; none reads a row of a message."""
_STATEMENT = re.compile(r"\s*(SELECT|WITH|INSERT|UPDATE|DELETE)\s")
_GAP = "\x00"
"""What a template leaves open."""


@pytest.fixture
async def seen(postgres_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Every statement that everything a store can do has led to."""
    statements: set[str] = set()
    acquired = PostgresConnections._acquired

    def note(query: Any) -> None:
        statements.add(" ".join(query.query.split()))

    def listening(self: PostgresConnections) -> Any:
        class Listening:
            async def __aenter__(inner) -> Any:  # noqa: N805
                inner.context = acquired(self)
                inner.connection = await inner.context.__aenter__()
                inner.connection.add_query_logger(note)
                return inner.connection

            async def __aexit__(inner, *error: Any) -> Any:  # noqa: N805
                if not inner.connection.is_closed():
                    inner.connection.remove_query_logger(note)
                return await inner.context.__aexit__(*error)

        return Listening()

    await (await emptied(PostgresStore(postgres_dsn, schema=TEST_SCHEMA))).close()
    monkeypatch.setattr(PostgresConnections, "_acquired", listening)
    store = PostgresStore(postgres_dsn, schema=TEST_SCHEMA)
    await store.open()
    await write_everything(store)
    await read_everything(store, monkeypatch)
    await erase_everything(store)
    await move_everything(store, postgres_dsn, tmp_path)
    return {statement for statement in statements if not statement.startswith("DELETE FROM guilds;")}  # `emptied`


async def test_every_statement_is_of_one_guild(seen: set[str], postgres_dsn: str) -> None:
    store = PostgresStore(postgres_dsn, schema=TEST_SCHEMA)
    await store.open()
    rows = await store.connections.read(
        "SELECT c.relname FROM pg_class c WHERE c.relnamespace = current_schema()::regnamespace"
        " AND c.relkind IN ('r', 'p') AND NOT c.relispartition"
    )
    await store.close()
    tables = {row[0] for row in rows} - NOT_OF_GUILDS.keys()
    assert len(tables) > 10
    for statement in seen - OF_ALL_GUILDS.keys():
        assert_one_guild(statement, tables)


def test_a_statement_that_forgets_the_guild_is_found() -> None:
    for statement in (
        "SELECT m.id FROM messages m WHERE m.id = $1",
        "DELETE FROM replies WHERE id = $1",
        "SELECT m.id FROM messages m JOIN vectors v ON v.message_id = m.id WHERE m.guild_id = $1",
        "INSERT INTO messages (guild_id, id) SELECT x.guild_id, x.id FROM unnest($1::bigint[], $2::bigint[]) x",
    ):
        with pytest.raises(AssertionError):
            assert_one_guild(statement, {"messages", "vectors", "replies"})


async def test_no_statement_of_the_program_was_left_out(seen: set[str]) -> None:
    """What stands in the modules as SQL has run here; what is allowed to be of all guilds has as well."""
    templates = [*written_statements()]
    assert len(templates) > 50
    everything = "\n".join(seen)
    for template in templates:
        pattern = ".+".join(re.escape(part) for part in " ".join(template.split()).split(_GAP))
        assert re.search(pattern, everything), template.replace(_GAP, "{…}")
    assert seen >= OF_ALL_GUILDS.keys()


def assert_one_guild(statement: str, tables: set[str]) -> None:
    """Every table that a statement names is bound to the guild, itself or by a join with one that is."""
    any_table = f"(?:{'|'.join(sorted(tables))})"
    references = re.findall(
        rf"\b(?:FROM|JOIN|UPDATE) ({any_table})\b(?: (?:AS )?(?!WHERE|SET|ON|ORDER|LIMIT|UNION)(\w+))?", statement
    )
    for table, alias in references:
        name = rf"{alias}\." if alias else rf"(?:{table}\.)?"
        bound = rf"(?<![\w.]){name}guild_id = (?:\$\d|ANY \(\$\d|\w+\.guild_id)"
        assert re.search(bound, statement), f"{alias or table} in: {statement}"
    if re.search(rf"INSERT INTO {any_table}\b", statement):
        assert re.search(r"SELECT \$1|VALUES \(\$1", statement), statement


def written_statements() -> Iterator[str]:
    """The SQL in the modules of the engine, with a gap for what is filled in."""
    for file in (*sorted(STORES.glob("postgres*.py")), STORES / "moving_ends.py"):
        tree = ast.parse(file.read_text("utf-8"))
        inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
        for node in ast.walk(tree):
            if id(node) in inside:
                continue
            text = _text_of(node)
            # SQLite's placeholders are the other end of a move; pg_extension and pg_class are the server's own.
            if _STATEMENT.match(text) and "?" not in text and "pg_extension" not in text:
                yield re.sub(r"\{\w+\}", _GAP, text)


def _text_of(node: ast.AST) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else _GAP for part in node.values)
    return ""


async def write_everything(store: PostgresStore) -> None:
    await store.use_space(OTHER_SPACE)
    await store.use_space(SPACE)
    both = [message(1, "one"), message(2, "new york", reply_to=1), message(3, "猫", guild_id=OTHER_GUILD)]
    await store.upsert(both)
    await store.put_channels([ChannelInfo(LOBBY, GUILD, "lobby")])
    await store.upsert([message(1, "edited", edited_at=START, channel_id=GARDEN)])
    await store.claim_unembedded(1)
    await store.put_embeddings([embedding(m) for m in both])
    await embed_all(store)
    await store.claim_unembedded(9)
    await store.put_setting(GUILD, "a", "1")
    await store.put_setting(GUILD, "a", None)
    await store.put_setting(0, "of the bot", "1")
    await store.put_reply(QuotingReply(GUILD, LOBBY, (50, 51)), both[:2])


async def read_everything(store: PostgresStore, monkeypatch: pytest.MonkeyPatch) -> None:
    await store.lexical(scope(author_ids=frozenset({100})), ["new york", "猫", "one"], 9)
    await store.dense(scope(after=START), vector(1), 9)
    monkeypatch.setattr(postgres_dense, "EXACT_LIMIT", 0)
    monkeypatch.setattr(postgres_dense, "EXACT_SHARE", 0.0)
    await store.dense(scope(before=START.replace(year=2030)), vector(1), 9)
    for read in (store.neighbours, store.load, store.filter):
        await read(scope(), [1, 2])
    await store.surroundings(scope(after=START), [1, 2], 1)
    await store.authors(GUILD)
    await store.channels(GUILD)
    await store.oldest(scope())
    await store.stats()
    assert len([m async for m in store.iterate(GUILD, author_id=100)]) == 2
    await store.get_setting(GUILD, "a")
    await store.stale_replies(9)


async def erase_everything(store: PostgresStore) -> None:
    await store.delete(GUILD, [1])
    await store.drop_reply(GUILD, 50)
    await store.erase(GUILD, author_id=100)
    await store.erase(OTHER_GUILD, channel_id=LOBBY)
    await store.erase(OTHER_GUILD)
    await store.upsert([message(9, guild_id=OTHER_GUILD)])
    await store.claim_unembedded(1)  # handed back when it closes


async def move_everything(store: PostgresStore, dsn: str, folder: Path) -> None:
    """To a folder and back, with something of everything."""
    await store.put_reply(QuotingReply(OTHER_GUILD, LOBBY, (60,)), [message(9, guild_id=OTHER_GUILD)])
    await store.close()
    here = PostgresStore(dsn, schema=TEST_SCHEMA)
    async with opened_end(here, folder) as old, opened_end(SqliteStore(folder), folder) as new:
        await Move(old, new).run()
    await (await emptied(PostgresStore(dsn, schema=TEST_SCHEMA))).close()
    async with opened_end(SqliteStore(folder), folder) as old, opened_end(here, folder) as new:
        await Move(old, new).run()
