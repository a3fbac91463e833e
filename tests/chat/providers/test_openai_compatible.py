"""Replies by a chat server, over real HTTP, and what becomes of them when it is down, slow, busy or broken."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import pytest

from cogs.chat.conversation import Conversation, Turn
from cogs.chat.providers.extractive import ExtractiveProvider
from cogs.chat.providers.failures import ProviderFailed
from cogs.chat.providers.fallback import with_fallback
from cogs.chat.providers.openai_compatible import OpenAICompatibleProvider
from cogs.chat.providers.reply_texts import ENGLISH
from tests.chat.samples import remembered
from tests.chat_server import Answer, BreakOff, ChatServer, Hang, Raw, Refusal, nobody_listens
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cogs.chat.providers import ReplyProvider

KEY = "sk-canary-of-the-key"
TALK = Conversation("You are a butler.", (Turn("user", "Ada", "when is tea?"),), remembered("Tea is at five."))
QUOTES = ExtractiveProvider().answer(TALK.memory)


@pytest.fixture
async def server() -> AsyncIterator[ChatServer]:
    async with ChatServer("Tea is at five [1].") as running:
        yield running


def provider_at(url: str, **options: Any) -> OpenAICompatibleProvider:
    return OpenAICompatibleProvider(url, "loopback", **{"api_key": KEY, "timeout_s": 90.0, **options})


async def pieces_of(provider: ReplyProvider) -> list[str]:
    try:
        return [piece async for piece in provider.reply(TALK)]
    finally:
        await provider.close()


async def failure_of(provider: ReplyProvider) -> str:
    with pytest.raises(ProviderFailed) as caught:
        await pieces_of(provider)
    said = str(caught.value)
    assert not any(secret in said for secret in (KEY, "127.0.0.1", "http", "loopback"))
    assert said.count(".") == 1
    return caught.value.reason


async def test_an_answer_comes_in_pieces_as_it_is_written(server: ChatServer) -> None:
    pieces = await pieces_of(provider_at(server.url, max_tokens=99))
    assert "".join(pieces) == "Tea is at five [1]."
    assert len(pieces) == 5
    assert server.last.body | {"messages": None} == {
        "model": "loopback",
        "messages": None,
        "max_tokens": 99,
        "stream": True,
        "chat_template_kwargs": {"enable_thinking": False},
    }
    assert server.last.headers["Authorization"] == f"Bearer {KEY}"
    assert [message["role"] for message in server.last.messages] == ["system", "user"]
    assert "You are a butler." in server.last.messages[0]["content"]
    assert "Tea is at five." in server.last.messages[1]["content"]


async def test_one_connection_serves_several_replies(server: ChatServer) -> None:
    provider = provider_at(server.url)
    for _ in range(2):
        assert [piece async for piece in provider.reply(TALK)]
    assert len(await asyncio.gather(*(_joined(provider) for _ in range(4)))) == 4
    await provider.close()
    assert len(server.requests) == 6


async def test_a_reply_that_begins_while_the_provider_closes_fails_like_any_other(server: ChatServer) -> None:
    provider = provider_at(server.url)
    server.order(Refusal(500))
    under_way = asyncio.create_task(failure_of(provider))
    await until(lambda: len(server.requests) == 1)
    await provider.close()
    assert await under_way == "unreachable"


async def _joined(provider: ReplyProvider) -> str:
    return "".join([piece async for piece in provider.reply(TALK)])


async def test_thoughts_are_not_passed_on(server: ChatServer) -> None:
    server.order(Answer("<think>He wants tea. </think> At five."))
    assert "".join(await pieces_of(provider_at(server.url))) == "At five."


async def test_an_answer_that_is_cut_says_so(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cogs.chat.providers.openai_compatible.MOST_CHARACTERS", 200)
    server.order(Answer("Tea is at", finish_reason="length"), Answer("word " * 500))
    assert "".join(await pieces_of(provider_at(server.url))) == "Tea is at…"
    long = "".join(await pieces_of(provider_at(server.url)))
    assert 200 < len(long) < 210


async def test_an_end_without_a_reason_is_one_if_the_protocol_says_so(server: ChatServer) -> None:
    server.order(Answer("Five.", finish_reason=None), Answer("Five.", done=False))
    assert "".join(await pieces_of(provider_at(server.url))) == "Five."
    assert "".join(await pieces_of(provider_at(server.url))) == "Five."


async def test_an_answer_in_one_piece_is_one_too(server: ChatServer) -> None:
    body = json.dumps({"choices": [{"message": {"content": "<think>hm</think>At five."}, "finish_reason": "length"}]})
    server.order(Raw(body, "application/json"))
    assert "".join(await pieces_of(provider_at(server.url))) == "At five.…"


async def test_an_endless_answer_is_not_read(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cogs.chat.providers.chat_stream.MAX_BYTES", 10_000)
    server.order(Raw("data: " + "x" * 20_000))
    assert await failure_of(provider_at(server.url)) == "unreadable"


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (Refusal(401), "access"),
        (Refusal(403), "access"),
        (Refusal(404), "no_model"),
        (Refusal(400), "refused"),
        (Refusal(413), "too_long"),
        (Refusal(422), "refused"),
        (Refusal(302), "refused"),
        (Refusal(501), "failing"),
        (Answer(""), "empty"),
        (Answer("<think>for ever"), "empty"),
        (BreakOff("Tea is"), "broke_off"),
        (BreakOff("Tea is", cleanly=True), "broke_off"),
        (BreakOff("", cleanly=True), "broke_off"),
        (Raw("data: {nonsense\n\n"), "unreadable"),
        (Raw(b"data: \xff\xfe\n\n"), "unreadable"),
        (Raw("<html>Bad gateway</html>", "text/html"), "broke_off"),
        (Raw('{"choices": []}', "application/json"), "unreadable"),
        (Raw('{"choices": [{"message": {"content": null}}]}', "application/json"), "unreadable"),
        (Raw("[5]", "application/json"), "unreadable"),
        (Raw("{nonsense", "application/json; charset=utf-8"), "unreadable"),
        (Raw(b""), "broke_off"),
        (Raw("data: 5\n\ndata: [DONE]\n\n"), "unreadable"),
        (Raw("data: null\n\ndata: [DONE]\n\n"), "unreadable"),
        (Raw('data: "words"\n\ndata: [DONE]\n\n'), "unreadable"),
        (Raw('data: {"choices": 5}\n\ndata: [DONE]\n\n'), "unreadable"),
        (Raw('data: {"choices": "words"}\n\ndata: [DONE]\n\n'), "unreadable"),
        (Raw('data: {"choices": [{"delta": {"content": 5}}]}\n\n'), "unreadable"),
        (Raw('data: {"choices": [5]}\n\n'), "unreadable"),
        (Raw('data: {"choices": [{"delta": null, "finish_reason": "stop"}]}\n\n'), "empty"),
        (Raw('data: {"choices": []}\n\ndata: [DONE]\n\n'), "empty"),
        (Raw('data: {"error": {"message": "out of memory at http://10.0.0.1"}}\n\n'), "failing"),
    ],
    ids=repr,
)
async def test_what_goes_wrong_is_one_sentence_without_secrets(server: ChatServer, order: Any, reason: str) -> None:
    server.always(order)
    assert await failure_of(provider_at(server.url)) == reason
    server.always(order)
    whole = "".join(await pieces_of(with_fallback(provider_at(server.url))))
    assert whole.endswith(f"{getattr(ENGLISH, reason)}\n{QUOTES}")


async def test_a_server_that_is_down_is_noticed_at_once(server: ChatServer) -> None:
    with nobody_listens() as url:
        assert await failure_of(provider_at(url)) == "unreachable"
    assert await failure_of(provider_at("http://nowhere.invalid/v1", timeout_s=90)) == "unreachable"


async def test_a_busy_server_is_asked_again_when_it_says_and_not_more_than_thrice(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cogs.chat.providers.openai_compatible._FIRST_WAIT_S", 0.01)
    for status in (429, 500, 503):
        server.order(Refusal(status), Refusal(status, retry_after="0.05"))
        assert "".join(await pieces_of(provider_at(server.url))) == "Tea is at five [1]."
    assert len(server.requests) == 9
    server.always(Refusal(429, retry_after="0.01"))
    assert await failure_of(provider_at(server.url)) == "busy"
    assert len(server.requests) == 12


@pytest.mark.parametrize(
    "retry_after",
    [
        "60",
        "1e999",
        pytest.param(formatdate(time.time() + 86_400, usegmt=True), id="tomorrow"),  # all workers must agree on names
    ],
)
async def test_a_wait_beyond_the_deadline_is_not_waited_for(server: ChatServer, retry_after: str) -> None:
    server.always(Refusal(429, retry_after=retry_after))
    assert await failure_of(provider_at(server.url)) == "busy"
    assert len(server.requests) == 1


async def test_a_strange_wait_is_none(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cogs.chat.providers.openai_compatible._FIRST_WAIT_S", 0.01)
    for strange in ("soon", "nan", "-5", "Sat, 99 Foo 2026 00:00:00 GMT", formatdate(0, usegmt=True)):
        server.order(Refusal(429, retry_after=strange))
        assert await pieces_of(provider_at(server.url))


async def test_a_key_is_not_tried_twice(server: ChatServer) -> None:
    server.api_key = "another"
    assert await failure_of(provider_at(server.url)) == "access"
    assert len(server.requests) == 1


@pytest.mark.parametrize("order", [Hang(), Answer(wait_s=30), Answer("a b", pause_s=30)], ids=repr)
async def test_a_slow_server_is_left_alone_at_the_deadline(server: ChatServer, order: Any) -> None:
    server.always(order)
    assert await failure_of(provider_at(server.url, timeout_s=0.3)) == "slow"
    await server.idle()


async def test_who_stops_listening_ends_the_request(server: ChatServer) -> None:
    server.order(Answer("word " * 500, pause_s=0.01))
    provider = provider_at(server.url)
    pieces = provider.reply(TALK)
    assert await anext(pieces) == "word"
    await pieces.aclose()  # type: ignore[attr-defined] # a generator
    await server.idle()
    await provider.close()


async def test_a_server_that_wants_the_limit_under_its_new_name_gets_it(server: ChatServer) -> None:
    server.order(Refusal(400, parameter="max_tokens"))
    provider = provider_at(server.url)
    assert await _joined(provider) == "Tea is at five [1]."
    assert "max_tokens" not in server.last.body
    assert server.last.body["max_completion_tokens"] == 512
    await _joined(provider)
    assert len(server.requests) == 3
    await provider.close()


async def test_a_server_that_minds_what_it_does_not_know_is_asked_without(server: ChatServer) -> None:
    server.order(Refusal(400))
    assert await pieces_of(provider_at(server.url))
    assert "chat_template_kwargs" not in server.last.body


async def test_a_kept_connection_that_was_closed_is_opened_again(server: ChatServer) -> None:
    server.order(Answer(), BreakOff(before_headers=True))
    provider = provider_at(server.url)
    assert [await _joined(provider), await _joined(provider)] == ["Tea is at five [1]."] * 2
    await provider.close()


async def test_a_key_of_the_environment_is_not_sent_to_a_server_that_has_none(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-environment")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    await pieces_of(provider_at(server.url, api_key=None))
    assert server.last.headers["Authorization"] == "Bearer none"


async def test_a_name_and_password_in_the_address_are_sent_and_not_shown(
    server: ChatServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    provider = provider_at(server.url.replace("//", "//ada:hunter2@"), api_key=None)
    await pieces_of(provider)
    assert server.last.headers["Authorization"].startswith("Basic ")
    assert "hunter2" not in provider.name + caplog.text


async def test_no_log_line_holds_a_text_or_the_key(server: ChatServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server.order(Refusal(401))
    await failure_of(provider_at(server.url))
    await pieces_of(provider_at(server.url))
    assert "access (401)" in caplog.text
    assert not any(secret in caplog.text for secret in (KEY, "when is tea", "at five", "butler"))


@pytest.mark.parametrize(
    ("url", "remote", "name"),
    [
        ("http://localhost:11434", False, "openai: m at localhost"),
        ("http://127.0.0.1:8080/v1", False, "openai: m at 127.0.0.1"),
        ("http://[::1]:8080/v1", False, "openai: m at ::1"),
        ("https://api.example.com/v1", True, "openai: m at api.example.com"),
        ("http://192.168.1.5/v1", True, "openai: m at 192.168.1.5"),
        ("http://localhost.example.com/v1", True, "openai: m at localhost.example.com"),
        ("http://127.0.0.1@evil.example/v1", True, "openai: m at evil.example"),
    ],
)
def test_only_this_machine_is_not_remote(url: str, remote: bool, name: str) -> None:
    provider = OpenAICompatibleProvider(url, "m")
    assert (provider.remote, provider.name) == (remote, name)


async def test_an_address_without_a_path_means_v1(server: ChatServer) -> None:
    assert await pieces_of(provider_at(server.url.removesuffix("/v1")))
    assert await pieces_of(provider_at(server.url + "/"))


async def test_it_may_be_closed_twice_and_before_its_first_reply() -> None:
    provider = provider_at("http://localhost:1/v1")
    await provider.close()
    await provider.close()
    assert provider.count_tokens("tea at five") == 3
