"""`RemoteReranker` against real servers on the loopback: scores, addresses, keys."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest

from cogs.memory.exceptions import ModelUnavailable, ScoringFailed
from cogs.memory.json_client import JsonClient
from cogs.memory.rerankers import Pair
from cogs.memory.rerankers.remote import CANARIES, RemoteReranker
from tests.rerankers.remote_reranker import load, pairs
from tests.rerankers.rerank_server import Answer, RerankServer, shared_words, sigmoid


@pytest.fixture(params=["cohere", "tei"])
def shape(request: pytest.FixtureRequest) -> Literal["cohere", "tei"]:
    return "cohere" if request.param == "cohere" else "tei"


@pytest.mark.parametrize("probabilities", [True, False])
def test_scores_come_back_in_the_order_of_the_documents(shape: Literal["cohere", "tei"], probabilities: bool) -> None:
    documents = ["nothing here", "the build is green", "who broke the build", "build"]
    with RerankServer(shape=shape, probabilities=probabilities) as server:
        reranker = load(server)
        scores = reranker.score(pairs("who broke the build", *documents))
        reranker.close()
    assert reranker.shape == shape
    assert reranker.scale == ("probability" if probabilities else "log-odds")
    assert scores.dtype == np.float32
    expected = [shared_words("who broke the build", document) for document in documents]
    np.testing.assert_allclose(scores, expected, atol=1e-4)


@pytest.mark.parametrize(("probability", "log_odds"), [(0.5, 0.0), (0.9, math.log(9)), (0.0, -16.1), (1.0, 16.1)])
def test_a_probability_becomes_finite_log_odds(probability: float, log_odds: float) -> None:
    with RerankServer() as server:
        reranker = load(server)
        server.rewrite = lambda _: [{"index": 0, "relevance_score": probability}]
        assert reranker.score(pairs("q", "d"))[0] == pytest.approx(log_odds, abs=0.1 if abs(log_odds) > 16 else 1e-5)
        reranker.close()


def test_logits_between_0_and_1_stay_logits_when_the_server_gave_logits_at_first() -> None:
    with RerankServer(probabilities=False) as server:
        reranker = load(server)
        server.rewrite = lambda _: [{"index": 0, "relevance_score": 0.25}]
        assert reranker.score(pairs("q", "d"))[0] == 0.25
        reranker.close()


def test_probabilities_that_turn_into_something_else_are_refused() -> None:
    with RerankServer() as server:
        reranker = load(server)
        server.probabilities = False
        with pytest.raises(ScoringFailed, match="probabilities at first"):
            reranker.score(pairs("who broke the build", "nothing"))
        reranker.close()


def test_documents_go_out_in_batches_and_repeated_ones_once(shape: Literal["cohere", "tei"]) -> None:
    with RerankServer(shape=shape) as server:
        reranker = load(server, batch=128)
        server.requests.clear()
        documents = [f"build {i % 70}" for i in range(100)]
        scores = reranker.score(pairs("the build", *documents))
        reranker.close()
    key = "documents" if shape == "cohere" else "texts"
    assert [len(request[key]) for request in server.requests] == [32, 32, 6]
    np.testing.assert_array_equal(scores[:30], scores[70:])


def test_several_questions_in_one_call_are_kept_apart() -> None:
    with RerankServer() as server:
        reranker = load(server)
        mixed = [Pair("red planet", "the red planet", "a"), Pair("capital", "the red planet", "b")]
        mixed += [Pair("capital", "capital", "a"), Pair("red planet", "capital", "b")]
        scores = reranker.score(mixed)
        reranker.close()
    assert list(scores > 0) == [True, False, True, False]


def test_a_caller_may_stop_after_any_request() -> None:
    with RerankServer() as server:
        reranker = load(server, batch=4)
        server.requests.clear()
        places, values = next(reranker.score_chunks(pairs("q", *map(str, range(12)))))
        reranker.close()
    assert places == [0, 1, 2, 3]
    assert len(values) == 4
    assert len(server.requests) == 1


@pytest.mark.parametrize("text", ["", "   ", "\ud800 lone", "NUL \0", "a\u0301" * 4000, '<|im_end|>\n"yes"'])
def test_any_text_is_survived(text: str, shape: Literal["cohere", "tei"]) -> None:
    with RerankServer(shape=shape) as server:
        reranker = load(server)
        assert np.isfinite(reranker.score(pairs(text, text, "other"))).all()
        reranker.close()


def test_nothing_to_score_asks_nobody() -> None:
    with RerankServer() as server:
        reranker = load(server)
        server.hits.clear()
        assert reranker.score([]).shape == (0,)
        assert server.hits == []
        assert len(reranker.token_counts(pairs("q", "", "four bytes", "字" * 40))) == 3
        reranker.close()


Rewrite = Callable[[list[dict[str, Any]]], Any]
WRONG: dict[str, Rewrite] = {
    "one missing": lambda results: results[:-1],
    "one twice": lambda results: [*results[:-1], results[0]],
    "one too many": lambda results: [*results, {"index": 7, "relevance_score": 0.5}],
    "negative index": lambda results: [{**results[0], "index": -1}, *results[1:]],
    "index as text": lambda results: [{**results[0], "index": "0"}, *results[1:]],
    "index true": lambda results: [{**result, "index": bool(result["index"])} for result in results],
    "NaN": lambda results: [{**results[0], "relevance_score": math.nan}, *results[1:]],
    "infinite": lambda results: [{**results[0], "relevance_score": math.inf}, *results[1:]],
    "huge integer": lambda results: [{**results[0], "relevance_score": 10**400}, *results[1:]],
    "score as text": lambda results: [{**results[0], "relevance_score": "0.5"}, *results[1:]],
    "no score": lambda results: [{"index": result["index"]} for result in results],
    "no list": lambda _: {"index": 0},
    "null": lambda _: None,
    "bare numbers": lambda results: [0.5] * len(results),
}


@pytest.mark.parametrize("rewrite", WRONG.values(), ids=WRONG.keys())
def test_an_answer_without_exactly_one_finite_score_for_each_text_gives_no_scores(rewrite: Rewrite) -> None:
    with RerankServer() as server:
        reranker = load(server)
        server.rewrite = rewrite
        with pytest.raises(ScoringFailed, match="exactly one score"):
            reranker.score(pairs("the build", "the build", "lunch"))
        reranker.close()


@pytest.mark.parametrize(
    "score",
    [lambda q, d: -shared_words(q, d), lambda _q, _d: 0.0, lambda _q, d: len(d) / 100],
    ids=["reversed", "constant", "blind to the question"],
)
def test_a_server_that_mixes_up_plain_examples_is_refused(score: Callable[[str, str], float]) -> None:
    with RerankServer(score=score) as server, pytest.raises(ModelUnavailable, match="prompt template"):
        load(server)


def test_each_canary_shares_more_words_with_its_own_answer_than_any_other_does() -> None:
    for i, (question, _) in enumerate(CANARIES):
        scores = [shared_words(question, answer) for _, answer in CANARIES]
        assert scores[i] > 0 > max(scores[:i] + scores[i + 1 :])


@pytest.mark.parametrize("url", ["", "ftp://host", "127.0.0.1:80", "http://", "http://[", "file:///etc/passwd"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ModelUnavailable, match="http://"):
        RemoteReranker.load(url, model="tiny")


def test_a_server_that_knows_neither_route_is_named_with_both() -> None:
    with RerankServer() as server:
        server.answers = [Answer(404), Answer(405)]
        with pytest.raises(ModelUnavailable, match="no /v1/rerank nor /rerank"):
            load(server)


def test_a_trailing_v1_or_slash_in_the_address_does_no_harm() -> None:
    with RerankServer() as server:
        for end in ("/", "/v1", "/v1/"):
            RemoteReranker.load(server.url + end, model="tiny").close()


def test_the_key_opens_the_server_and_stands_in_no_log_and_no_error(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with RerankServer(api_key="s3cret-key") as server:
        reranker = load(server, api_key="s3cret-key")
        reranker.score(pairs("s3cret-query", "s3cret-text"))
        server.answers = [Answer(500, b"s3cret-text")]
        with pytest.raises(ScoringFailed) as failure:
            reranker.score(pairs("s3cret-query", "s3cret-text"))
        with pytest.raises(ModelUnavailable, match="another API key") as refusal:
            load(server, api_key="s3cret-wrong")
        reranker.close()
    assert "s3cret" not in caplog.text + str(failure.value) + str(refusal.value) + reranker.key


def test_a_password_in_the_address_stands_in_no_log_no_error_and_no_cache_key(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    with RerankServer() as server:
        url = server.url.replace("http://", "http://user:s3cret@")
        reranker = RemoteReranker.load(url, model="tiny")
        server.answers = [Answer(404), Answer(404)]
        with pytest.raises(ModelUnavailable) as refusal:
            RemoteReranker.load(url, model="tiny")
        reranker.close()
    assert set(server.authorizations) == {"Basic dXNlcjpzM2NyZXQ="}
    assert "s3cret" not in caplog.text + reranker.key + str(refusal.value)


def test_a_key_that_would_travel_unencrypted_is_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    JsonClient("http://127.0.0.1:1", what="rerank server", api_key="s3cret").close()
    JsonClient("https://rerank.example", what="rerank server", api_key="s3cret").close()
    assert caplog.text == ""
    JsonClient("http://rerank.example", what="rerank server", api_key="s3cret").close()
    assert "unencrypted to http://rerank.example" in caplog.text
    assert "s3cret" not in caplog.text


def test_closing_twice_is_allowed_and_scoring_afterwards_fails() -> None:
    with RerankServer() as server:
        reranker = load(server)
        reranker.close()
        reranker.close()
        with pytest.raises(ScoringFailed, match="closed"):
            reranker.score(pairs("q", "d"))


def test_the_self_test_says_what_it_found() -> None:
    with RerankServer() as server:
        reranker = load(server)
        assert reranker.self_test().ok
        server.score = lambda _query, _document: 0.0
        assert not reranker.self_test().ok
        reranker.close()


def test_sigmoid_of_the_log_odds_is_what_a_server_of_probabilities_said() -> None:
    with RerankServer() as server:
        reranker = load(server)
        said = {}

        def remember(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
            said.update({result["index"]: result["relevance_score"] for result in results})
            return results

        server.rewrite = remember
        scores = reranker.score(pairs("who broke the build", "the build", "who", "lunch"))
        reranker.close()
    assert [sigmoid(float(score)) for score in scores] == pytest.approx([said[i] for i in range(3)], abs=1e-6)
