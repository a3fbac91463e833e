"""Points discord.py at another server. Runs inside the bot's process, so it imports nothing but the library."""

from __future__ import annotations

import importlib.abc
import importlib.util
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType


READY_TIMEOUT = 0.05
"""Seconds that discord.py waits for further guilds before it says it is ready; its default is 2."""


def redirect(address: str) -> Callable[[], None]:
    """Send discord.py's requests to `address`, e.g. ``http://127.0.0.1:8080``; returns what undoes it.

    The pauses that protect the real gateway (2 s before ready, 5 s before each further identify) are shortened.
    """
    import discord  # only now: a program that never imports it shall not pay for it
    import yarl

    original_init = discord.state.ConnectionState.__init__

    def init(self: Any, **options: Any) -> None:
        options.setdefault("guild_ready_timeout", READY_TIMEOUT)
        original_init(self, **options)

    async def identify_at_once(self: Any, shard_id: int | None, *, initial: bool = False) -> None:
        del self, shard_id, initial

    socket = address.replace("http", "ws", 1) + "/gateway/"
    changes: list[tuple[Any, str, Any]] = [
        (discord.http.Route, "BASE", f"{address}/api/v10"),
        (discord.gateway.DiscordWebSocket, "DEFAULT_GATEWAY", yarl.URL(socket)),
        (discord.Asset, "BASE", address),
        (discord.state.ConnectionState, "__init__", init),
        (discord.Client, "before_identify_hook", identify_at_once),
    ]
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in changes]
    for owner, name, value in changes:
        setattr(owner, name, value)

    def undo() -> None:
        for owner, name, value in before:
            setattr(owner, name, value)

    return undo


def redirect_on_import(address: str) -> None:
    """Redirect discord.py as soon as this process imports it, and cost nothing if it never does."""
    sys.meta_path.insert(0, _Finder(address))


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, address: str) -> None:
        self._address = address

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "discord":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec("discord")
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_redirect(module: ModuleType) -> None:
                execute(module)
                redirect(self._address)

            spec.loader.exec_module = execute_and_redirect  # type: ignore[method-assign] # this one loader only
        return spec
