"""Loads beside a serving model: they take few threads, let go of the interpreter often, and put everything back."""

from __future__ import annotations

import sys
import threading
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

from cogs.memory.library_imports import SWITCH_S, importing_libraries, quick_switches
from cogs.memory.model_cache import ModelCache
from cogs.memory.quiet_loading import quiet_loading
from cogs.memory.serving_model import ModelLoader
from tests.plugin_rerankers import PROFILE, WordReranker
from tests.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable

FOUR_CORES = replace(PROFILE, threads=4)


def on_a_thread(work: Callable[[], int]) -> int:
    """What ``work`` returns on a thread that has done nothing before."""
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    return found[0]


def test_a_load_leaves_a_core_and_changes_no_other_threads_setting() -> None:
    def load() -> int:
        torch.set_num_threads(3)  # the last setting made: what new threads take
        with quiet_loading(FOUR_CORES):
            assert torch.get_num_threads() == 3
            with quiet_loading(replace(PROFILE, threads=2)):
                assert torch.get_num_threads() == 1
                assert on_a_thread(torch.get_num_threads) == 3
        return torch.get_num_threads()

    here = torch.get_num_threads()
    try:
        assert on_a_thread(load) == 3
        assert torch.get_num_threads() == here
        assert on_a_thread(torch.get_num_threads) == 3
    finally:
        torch.set_num_threads(here)


def test_the_switch_interval_is_put_back_by_the_last_of_several_blocks() -> None:
    usual = sys.getswitchinterval()
    first, second = ExitStack(), ExitStack()
    first.enter_context(quick_switches)
    second.enter_context(importing_libraries())
    assert sys.getswitchinterval() == pytest.approx(SWITCH_S)
    first.close()
    assert sys.getswitchinterval() == pytest.approx(SWITCH_S)
    second.close()
    assert sys.getswitchinterval() == pytest.approx(usual)


def test_a_load_that_fails_puts_everything_back() -> None:
    usual, threads = sys.getswitchinterval(), torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), quiet_loading(FOUR_CORES):
        raise ZeroDivisionError
    assert (sys.getswitchinterval(), torch.get_num_threads()) == (usual, threads)


def test_a_load_waits_for_another_one() -> None:
    begun = threading.Event()

    def second() -> None:
        with quiet_loading(FOUR_CORES):
            begun.set()

    thread = threading.Thread(target=second)
    with quiet_loading(FOUR_CORES):
        thread.start()
        assert not begun.wait(0.05)
    thread.join(PATIENCE_S)
    assert begun.is_set()


def test_a_models_first_test_is_part_of_its_load_and_a_servers_is_not() -> None:
    """A server may be slow: no other load has to wait for it."""
    seen: list[tuple[int, bool]] = []

    def note(_: object) -> None:
        seen.append((torch.get_num_threads(), sys.getswitchinterval() < 0.001))

    threads = torch.get_num_threads()
    for model in (WordReranker(fault=note), WordReranker(fault=note, is_remote=True)):
        models = ModelCache()
        ModelLoader(models, lambda _, model=model: model).lease(replace(PROFILE, threads=2)).lease.release()  # type: ignore[misc]
        models.close()
    assert set(seen) == {(1, True), (threads, False)}
    assert seen[0] == (1, True)
