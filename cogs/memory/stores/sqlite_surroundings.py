"""What stands around messages in their channels, and the token sketches of all that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cogs.memory.records import Neighbours, Surroundings
from cogs.memory.stores.sqlite_packing import Packed
from cogs.memory.stores.sqlite_rows import channel_condition, id_list, scope_condition
from cogs.memory.stores.surroundings import beside, with_context

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cogs.memory.records import Scope
    from cogs.memory.stores.sqlite_connections import Connections, Statements

_SAME_CHANNEL = "INDEXED BY messages_by_channel WHERE n.guild_id = m.guild_id AND n.channel_id = m.channel_id"
# Columns in the order of `Neighbours`.
_AROUND = Packed(f"""
    m.id,
    (SELECT n.id FROM messages n {_SAME_CHANNEL} AND n.id < m.id ORDER BY n.id DESC LIMIT 1),
    (SELECT n.id FROM messages n {_SAME_CHANNEL} AND n.id < m.id ORDER BY n.id DESC LIMIT 1 OFFSET 1),
    (SELECT n.id FROM messages n {_SAME_CHANNEL} AND n.id > m.id ORDER BY n.id LIMIT 1),
    (SELECT n.id FROM messages n
     WHERE n.id = m.reply_to AND n.guild_id = m.guild_id AND n.channel_id = m.channel_id),
    (SELECT min(n.id) FROM messages n INDEXED BY messages_by_reply
     WHERE n.reply_to = m.id AND n.guild_id = m.guild_id AND n.channel_id = m.channel_id)
""")  # noqa: S608  # a constant
_NEIGHBOURS = f"""
    SELECT {_AROUND.select} FROM json_each(:ids) j CROSS JOIN messages m ON m.id = j.value WHERE {{condition}}
"""  # noqa: S608  # a constant
_SKETCHED = Packed("m.id", "s.sketch")
_SKETCHES = f"""
    SELECT {_SKETCHED.select}
    FROM json_each(:ids) j CROSS JOIN messages m ON m.id = j.value
    LEFT JOIN sketches s ON s.message_id = m.id AND m.vector_space = :space
    WHERE {{condition}}
"""  # noqa: S608  # a constant
_PASSING = Packed("m.id")
_FILTER = f"SELECT {_PASSING.select} FROM json_each(:ids) j CROSS JOIN messages m ON m.id = j.value WHERE {{condition}}"  # noqa: S608


async def surroundings(
    connections: Connections, scope: Scope, hits: Sequence[int], widened: int, space_id: int
) -> Surroundings:
    """What stands around the hits and beside the first ``widened`` of them, and the sketches of all that."""

    def look(database: Statements) -> Surroundings:
        around = _neighbours(database, scope, hits[:widened])
        near = beside(around[i] for i in hits[:widened] if i in around)
        if scope.is_filtered:
            near = ids_in_scope(database, scope, near)
        around |= _neighbours(database, scope, [i for i in dict.fromkeys([*hits, *near]) if i not in around])
        return Surroundings(around, _sketches(database, scope, with_context(around), space_id))

    return await connections.run(look)


async def neighbours(connections: Connections, scope: Scope, ids: Sequence[int]) -> dict[int, Neighbours]:
    """The messages around each of the ids that lies in the scope's channels."""
    return await connections.run(lambda database: _neighbours(database, scope, ids))


async def filter_ids(connections: Connections, scope: Scope, ids: Sequence[int]) -> set[int]:
    """Those of the ids that lie in the whole scope."""
    return set(await connections.run(lambda database: ids_in_scope(database, scope, ids)))


def _neighbours(database: Statements, scope: Scope, ids: Sequence[int]) -> dict[int, Neighbours]:
    condition, parameters = channel_condition(scope)
    rows = database.execute(_NEIGHBOURS.format(condition=condition), {**parameters, "ids": id_list(ids)})
    return {message_id: Neighbours(*around) for message_id, *around in _AROUND.rows(rows)}


def _sketches(database: Statements, scope: Scope, ids: Sequence[int], space_id: int) -> dict[int, bytes]:
    condition, parameters = channel_condition(scope)
    rows = database.execute(
        _SKETCHES.format(condition=condition), {**parameters, "ids": id_list(ids), "space": space_id}
    )
    return {message_id: sketch or b"" for message_id, sketch in _SKETCHED.rows(rows)}


def ids_in_scope(database: Statements, scope: Scope, ids: Sequence[int]) -> list[int]:
    """Those of the ids that lie in the whole scope, in their order."""
    condition, parameters = scope_condition(scope)
    rows = database.execute(_FILTER.format(condition=condition), {**parameters, "ids": id_list(ids)})
    return [message_id for (message_id,) in _PASSING.rows(rows)]
