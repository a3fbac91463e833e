"""`RemoteReranker` with servers that are overloaded, hang, break off, lie or are not there."""

from __future__ import annotations

import socket
import threading

import pytest

from cogs.memory.exceptions import ModelUnavailable, ScoringFailed
from cogs.memory.json_client import MAX_ANSWER, CircuitBreaker, JsonClient
from cogs.memory.rerankers.remote import RemoteReranker
from tests.rerankers.remote_reranker import load, pairs
from tests.rerankers.rerank_server import Answer, RerankServer, shared_words


class Clock:
    """Seconds that pass only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.mark.parametrize("status", [429, 503])
def test_an_overloaded_server_is_asked_again_inside_the_time_limit(status: int) -> None:
    with RerankServer() as server:
        reranker = load(server)
        server.hits.clear()
        server.answers = [Answer(status), Answer(status, headers={"Retry-After": "0"})]
        assert reranker.score(pairs("the build", "the build"))[0] > 0
        assert len(server.hits) == 3
        reranker.close()


def test_an_overloaded_server_is_given_up_on_before_the_time_limit() -> None:
    clock = Clock()
    with RerankServer() as server:
        client = JsonClient(server.url, what="rerank server", clock=clock, sleep=clock.sleep)
        reranker = load(server, client=client)
        server.answers = [Answer(429)] * 500
        with pytest.raises(ScoringFailed, match="overloaded"):
            reranker.score(pairs("q", "d"))
        assert 30 < clock.now < 60
        slept = clock.slept.copy()
        server.answers = [Answer(503, headers={"Retry-After": "3600"})]
        with pytest.raises(ScoringFailed, match="overloaded"):
            reranker.score(pairs("q", "d"))
        assert clock.slept == slept
        reranker.close()


def test_waits_between_attempts_grow() -> None:
    clock = Clock()
    with RerankServer() as server:
        client = JsonClient(server.url, what="rerank server", clock=clock, sleep=clock.sleep)
        server.answers = [Answer(429)] * 6
        with pytest.raises(ScoringFailed):
            client.post("v1/rerank", {}, deadline=clock() + 5, read=list)
        client.close()
    assert clock.slept == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6])


def test_a_hanging_server_costs_the_time_limit_and_no_more() -> None:
    with RerankServer() as server:
        reranker = load(server, time_limit_s=0.3)
        wakes = threading.Event()
        server.answers = [Answer(hold=wakes)]
        with pytest.raises(ScoringFailed, match="in time"):
            reranker.score(pairs("q", "d"))
        assert not wakes.is_set()  # nobody waited for it
        wakes.set()
        reranker.close()


def test_a_kept_connection_that_the_server_has_closed_is_opened_again() -> None:
    with RerankServer() as server:
        reranker = load(server)
        server.answers = [Answer(drop=True)]
        assert reranker.score(pairs("the build", "the build"))[0] > 0
        server.answers = [Answer(drop=True), Answer(drop=True)]
        with pytest.raises(ScoringFailed, match="broke off"):
            reranker.score(pairs("q", "d"))
        reranker.close()


def test_the_breaker_opens_after_failures_and_lets_one_attempt_through_when_its_time_is_over() -> None:
    clock = Clock()
    with RerankServer() as server:
        client = JsonClient(server.url, what="rerank server", clock=clock, sleep=clock.sleep)
        reranker = load(server, client=client)
        server.answers = [Answer(500)] * 3
        for _ in range(3):
            with pytest.raises(ScoringFailed, match="500"):
                reranker.score(pairs("q", "d"))
        server.hits.clear()
        with pytest.raises(ScoringFailed, match="asked again in 30 s"):
            reranker.score(pairs("q", "d"))
        assert server.hits == []

        clock.now += 30
        server.answers = [Answer(500)]
        with pytest.raises(ScoringFailed, match="500"):
            reranker.score(pairs("q", "d"))
        with pytest.raises(ScoringFailed, match="keeps failing"):
            reranker.score(pairs("q", "d"))
        assert len(server.hits) == 1

        clock.now += 30
        assert reranker.score(pairs("the build", "the build"))[0] > 0
        reranker.close()


def test_a_server_that_comes_back_with_another_model_must_prove_itself_again() -> None:
    clock = Clock()
    with RerankServer() as server:
        client = JsonClient(server.url, what="rerank server", clock=clock, sleep=clock.sleep)
        reranker = load(server, client=client)
        server.answers = [Answer(500)] * 3
        for _ in range(3):
            with pytest.raises(ScoringFailed):
                reranker.score(pairs("q", "d"))
        clock.now += 30
        server.score = lambda query, document: -shared_words(query, document)
        with pytest.raises(ScoringFailed, match="plain examples"):
            reranker.score(pairs("q", "d"))
        with pytest.raises(ScoringFailed, match="keeps failing"):
            reranker.score(pairs("q", "d"))
        clock.now += 30
        server.score = shared_words
        server.probabilities = False
        key = reranker.key
        assert reranker.score(pairs("the build", "the build"))[0] == pytest.approx(6.0)
        assert reranker.key != key
        reranker.close()


def test_answers_that_cannot_be_used_open_the_breaker_and_texts_that_are_refused_do_not() -> None:
    with RerankServer() as server:
        reranker = load(server)
        server.answers = [Answer(422), Answer(413), Answer(400), Answer(422)]
        for _ in range(4):
            with pytest.raises(ScoringFailed, match=r"refuses|too long"):
                reranker.score(pairs("q", "d"))
        assert reranker.score(pairs("the build", "the build"))[0] > 0
        server.answers = [Answer(body=b"<html>"), Answer(body=b"[" * 100_000), Answer(body=b"{}")]
        for _ in range(3):
            with pytest.raises(ScoringFailed, match=r"no JSON|exactly one"):
                reranker.score(pairs("q", "d"))
        with pytest.raises(ScoringFailed, match="keeps failing"):
            reranker.score(pairs("q", "d"))
        reranker.close()


def test_a_redirect_is_not_followed() -> None:
    with RerankServer() as other, RerankServer() as server:
        server.answers = [Answer(307, headers={"Location": f"{other.url}/v1/rerank"})]
        with pytest.raises(ModelUnavailable, match="redirect"):
            load(server)
        assert other.hits == []


def test_an_endless_answer_is_cut_off() -> None:
    with RerankServer() as server:
        reranker = load(server, time_limit_s=10)
        server.answers = [Answer(body=b" " * (MAX_ANSWER + 200_000))]
        with pytest.raises(ScoringFailed, match="endless"):
            reranker.score(pairs("q", "d"))
        reranker.close()


def test_a_server_that_is_not_there_is_one_clear_sentence() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ModelUnavailable, match=rf"cannot be reached at http://127\.0\.0\.1:{port}\.$"):
        RemoteReranker.load(f"http://127.0.0.1:{port}", model="tiny")


def test_a_breaker_counts_only_failures_in_a_row() -> None:
    breaker = CircuitBreaker(threshold=2)
    for _ in range(5):
        breaker.record_failure()
        breaker.record_success()
    assert breaker.wait_s == 0
    breaker.record_failure()
    breaker.record_failure()
    assert breaker.wait_s > 29


def test_the_time_limit_holds_for_all_requests_of_a_call_together() -> None:
    clock = Clock()
    with RerankServer() as server:
        client = JsonClient(server.url, what="rerank server", clock=clock)
        reranker = load(server, client=client, batch=1)
        server.hits.clear()

        def score(query: str, document: str) -> float:
            clock.now += 25
            return shared_words(query, document)

        server.score = score
        with pytest.raises(ScoringFailed, match="in time"):
            reranker.score(pairs("q", *map(str, range(50))))
        assert len(server.hits) == 3
        reranker.close()
