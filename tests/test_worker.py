"""The one worker thread."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from cogs.memory.worker import ModelWorker, Priority


def test_questions_go_before_background_work() -> None:
    worker, gate = ModelWorker(), threading.Event()
    order: list[str] = []
    worker.submit(gate.wait)
    background = [worker.submit_at(Priority.BACKGROUND, order.append, f"background {n}") for n in range(2)]
    question = worker.submit_at(Priority.QUESTION, order.append, "question")
    normal = worker.submit(order.append, "normal")
    gate.set()
    for future in (*background, question, normal):
        future.result(timeout=60)
    worker.shutdown()
    assert order == ["question", "normal", "background 0", "background 1"]


def test_everything_runs_on_one_thread_and_errors_reach_the_caller() -> None:
    worker = ModelWorker()
    threads = {worker.submit(threading.get_ident).result(timeout=60) for _ in range(5)}
    assert len(threads) == 1
    assert threads != {threading.get_ident()}
    with pytest.raises(ZeroDivisionError):
        worker.submit(lambda: 1 / 0).result(timeout=60)
    worker.shutdown()


async def test_a_call_does_not_block_the_event_loop() -> None:
    worker, gate = ModelWorker(), threading.Event()
    call = asyncio.create_task(worker.run(gate.wait, 60))
    for _ in range(5):
        await asyncio.sleep(0.01)
    assert not call.done()
    gate.set()
    assert await call
    worker.shutdown()


def test_shutdown_finishes_what_waits_and_refuses_more() -> None:
    worker = ModelWorker()
    done: list[int] = []
    futures = [worker.submit(done.append, n) for n in range(3)]
    worker.shutdown()
    assert [future.done() for future in futures] == [True] * 3
    assert done == [0, 1, 2]
    with pytest.raises(RuntimeError):
        worker.submit(int)


def test_shutdown_can_cancel_what_waits() -> None:
    worker, gate = ModelWorker(), threading.Event()
    running = worker.submit(gate.wait)
    while not running.running():
        time.sleep(0.001)
    waiting = worker.submit(int)
    worker.shutdown(wait=False, cancel_futures=True)
    gate.set()
    assert waiting.cancelled()
    assert running.result(timeout=60)


async def test_background_work_stands_back_for_questions_without_end_but_not_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cogs.memory.worker.STANDS_BACK_S", 0.05)
    worker = ModelWorker()
    with worker.question():
        assert await worker.run_background(int, "7") == 7
    worker.shutdown()


async def test_background_work_goes_on_as_soon_as_the_last_question_is_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cogs.memory.worker.STANDS_BACK_S", 3600.0)
    worker = ModelWorker()
    with worker.question():
        with worker.question():
            background = asyncio.create_task(worker.run_background(int, "7"))
            await asyncio.sleep(0)
        assert await worker.run(int, "5") == 5
        assert not background.done()
    assert await background == 7
    worker.shutdown()


async def test_background_work_that_somebody_waits_for_stands_back_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cogs.memory.worker.STANDS_BACK_S", 3600.0)
    worker = ModelWorker()
    with worker.question():
        background = asyncio.create_task(worker.run_background(int, "7"))
        await asyncio.sleep(0)
        with worker.hurry():
            assert await background == 7
    worker.shutdown()
