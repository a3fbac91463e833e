"""A permission that goes while a question is answered: at every point at which something else may run."""

from __future__ import annotations

import itertools
import types
from typing import TYPE_CHECKING, Any

from tests.loopback import Permission, deny
from tests.loopback.payloads import channel_json

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

    import pytest

    from .tea_house import TeaHouse


class Stops:
    """Counts the points at which a coroutine waits, and does something at one of them."""

    def __init__(self, at: int, act: Callable[[], None]) -> None:
        self.count = 0
        self.acted = False
        self._at = at
        self._act = act

    @types.coroutine
    def through(self, coroutine: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """Run it."""
        try:
            waited_for = coroutine.send(None)
            while True:
                self.count += 1
                if self.count == self._at:
                    self.acted = True
                    self._act()
                try:
                    value = yield waited_for
                except BaseException as error:  # noqa: BLE001 - whatever came of what it waited for is the coroutine's
                    waited_for = coroutine.throw(error)
                else:
                    waited_for = coroutine.send(value)
        except StopIteration as end:
            return end.value


async def test_what_is_hidden_at_any_moment_of_a_question_is_not_in_its_answer(
    house: TeaHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.general.post(house.mod, "the spare key lies under the third stone")
    await house.settle()
    state: Any = house.bot._connection
    flow = house.cog.flow
    page = flow.page
    everyone, hidden = house.guild.everyone, deny(Permission.READ_MESSAGE_HISTORY)
    stops = Stops(0, lambda: None)

    def hide() -> None:  # at Discord and, at this very moment, in what the bot has been told
        house.general.set_overwrite(everyone, hidden)
        state.parse_channel_update(channel_json(house.general))

    async def watched(*arguments: Any) -> Any:
        return await stops.through(page(*arguments))

    monkeypatch.setattr(flow, "page", watched)
    shown: list[bool] = []
    for point in itertools.count():
        stops = Stops(point, hide)
        house.services.turns._taken.clear()  # or he would have asked too often
        house.services.memory.forget_caches(house.guild.id)
        reply = await house.recall("where is the spare key?")
        shown.append("third stone" in reply.text)
        house.general.set_overwrite(everyone, None)
        await house.discord.gateway.barrier()
        if point and not stops.acted:  # past the last one
            break
    assert shown[0]
    assert shown[-1]
    assert len(shown) > 5
    assert not any(shown[1:-1])
