"""The chat server of the tests speaks what OpenAI's own client understands, and misbehaves as ordered."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import openai
import pytest

from tests.chat_server import Answer, BreakOff, ChatServer, Hang, Raw, Refusal, nobody_listens

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

QUESTION: Any = [{"role": "system", "content": "You are kind."}, {"role": "user", "content": "When is tea?"}]


@pytest.fixture
async def server() -> AsyncIterator[ChatServer]:
    async with ChatServer("Tea is at five.") as running:
        yield running


async def streamed(url: str, messages: Any = QUESTION, key: str = "any") -> list[str]:
    async with openai.AsyncOpenAI(base_url=url, api_key=key, max_retries=0, timeout=60) as client:
        stream = await client.chat.completions.create(model="loopback", messages=messages, stream=True)
        async with stream:
            return [chunk.choices[0].delta.content or "" async for chunk in stream]


async def test_it_answers_whole_and_in_pieces(server: ChatServer) -> None:
    async with openai.AsyncOpenAI(base_url=server.url, api_key="any") as client:
        whole = await client.chat.completions.create(model="loopback", messages=QUESTION)
    assert whole.choices[0].message.content == "Tea is at five."
    pieces = await streamed(server.url)
    assert "".join(pieces) == "Tea is at five."
    assert len([piece for piece in pieces if piece]) == 4
    assert server.last.messages == QUESTION
    assert server.last.prompt.endswith("When is tea?")


async def test_orders_are_carried_out_one_a_request(server: ChatServer) -> None:
    server.order(Refusal(429, retry_after="3"), Answer("Soon."))
    with pytest.raises(openai.RateLimitError) as caught:
        await streamed(server.url)
    assert caught.value.response.headers["retry-after"] == "3"
    assert "".join(await streamed(server.url)) == "Soon."
    assert "".join(await streamed(server.url)) == "Tea is at five."
    server.always(Refusal(500))
    for _ in range(2):
        with pytest.raises(openai.InternalServerError):
            await streamed(server.url)


async def test_answers_break_off(server: ChatServer) -> None:
    server.order(BreakOff("Tea is"), BreakOff("Tea is", cleanly=True), Raw("data: {nonsense\n\n"), Answer(""))
    with pytest.raises(openai.APIConnectionError):
        await streamed(server.url)
    assert "".join(await streamed(server.url)) == "Tea is"
    with pytest.raises(ValueError, match="Expecting"):
        await streamed(server.url)
    assert "".join(await streamed(server.url)) == ""


async def test_a_client_that_goes_away_ends_its_answer(server: ChatServer) -> None:
    server.order(Hang())
    task = asyncio.create_task(streamed(server.url))
    while not server.open:  # noqa: ASYNC110 # the server signals nothing
        await asyncio.sleep(0.005)
    task.cancel()
    await server.idle()


async def test_it_demands_what_real_servers_demand(server: ChatServer) -> None:
    user, assistant = {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}
    for messages in ([], [user, user], [user, assistant], [user, QUESTION[0], user], [{"role": "user"}]):
        with pytest.raises(openai.BadRequestError):
            await streamed(server.url, messages)
    server.api_key = "right"
    with pytest.raises(openai.AuthenticationError):
        await streamed(server.url, key="wrong")
    assert await streamed(server.url, key="right")


async def test_nobody_listens_at_a_port_that_stays_taken() -> None:
    with nobody_listens() as url, pytest.raises(openai.APIConnectionError):
        await streamed(url)
