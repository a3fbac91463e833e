"""The tokenizer in a process of its own: the same ids, no secrets, no orphans, and started again when it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cogs.memory.exceptions import ModelUnavailable, ScoringFailed
from cogs.memory.rerankers import Pair, qwen3
from cogs.memory.rerankers.qwen3 import Qwen3Reranker
from cogs.memory.rerankers.qwen3_prompt import PromptTokenizer
from cogs.memory.rerankers.tokenizer_process import TokenizerProcess, read_tokenizer
from tests.tiny_models import CONTROL_TOKENS, THINK_TOKENS, chat_lines, make_qwen3, make_tokenizer

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PAIRS = [
    Pair("who fixed it?", text, "Find it.")
    for text in ("", "x\ud800y", "日本語\n 😀", *CONTROL_TOKENS, *THINK_TOKENS, "word " * 900, *chat_lines(9))
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_qwen3(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def elsewhere(folder: Path) -> Iterator[TokenizerProcess]:
    process = TokenizerProcess(folder / "tokenizer.json", 512)
    yield process
    process.close()


def test_ids_are_those_of_a_tokenizer_in_this_process(folder: Path, elsewhere: TokenizerProcess) -> None:
    words = read_tokenizer(folder / "tokenizer.json")
    here = PromptTokenizer(words, 512)
    assert elsewhere.prompts(PAIRS) == here.prompts(PAIRS)
    assert elsewhere.document_lengths(PAIRS) == here.document_lengths(PAIRS)
    assert (elsewhere.answers, elsewhere.max_length, elsewhere.has_frame) == (here.answers, 512, False)
    assert elsewhere.vocabulary == words.get_vocab_size()


def test_a_model_with_a_large_vocabulary_scores_the_same_and_ends_its_process(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = Qwen3Reranker.load(str(folder))
    monkeypatch.setattr(qwen3, "LARGE_TOKENIZER", 0)
    large = Qwen3Reranker.load(str(folder))
    tokenizer = large._tokenizer
    assert isinstance(tokenizer, TokenizerProcess)
    np.testing.assert_array_equal(large.score(PAIRS), small.score(PAIRS))
    assert large.token_counts(PAIRS) == small.token_counts(PAIRS)
    assert large.key == small.key
    for model in (large, small):
        model.close()
    assert tokenizer._process.returncode is not None
    with pytest.raises(ScoringFailed, match="unloaded"):
        large.score(PAIRS)


def test_a_model_that_cannot_be_loaded_leaves_no_process(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qwen3, "LARGE_TOKENIZER", 0)
    started: list[TokenizerProcess] = []

    class Noted(TokenizerProcess):
        def __init__(self, file: Path, max_length: int) -> None:
            super().__init__(file, max_length)
            started.append(self)

    monkeypatch.setattr(qwen3, "TokenizerProcess", Noted)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(ModelUnavailable, match="safetensors"):
        Qwen3Reranker.load(str(tmp_path))
    assert [process._process.returncode is None for process in started] == [False]


def test_a_process_that_was_killed_is_started_again(elsewhere: TokenizerProcess) -> None:
    before = elsewhere.prompts(PAIRS)
    killed = elsewhere._process
    killed.kill()
    killed.wait()
    assert elsewhere.prompts(PAIRS) == before
    assert elsewhere._process.pid != killed.pid


def test_a_process_that_cannot_be_started_again_fails_and_later_can(tmp_path: Path) -> None:
    make_tokenizer(tmp_path)
    file = tmp_path / "tokenizer.json"
    process = TokenizerProcess(file, 512)
    content = file.read_bytes()
    file.write_bytes(content[:1000])
    process._process.kill()
    process._process.wait()
    with pytest.raises(ModelUnavailable, match="damaged"):
        process.prompts(PAIRS)
    file.write_bytes(content)
    assert len(process.prompts(PAIRS)) == len(PAIRS)
    process.close()
    with pytest.raises(ScoringFailed, match="unloaded"):
        process.prompts(PAIRS)
    process.close()


def test_a_question_that_fails_harms_no_other(elsewhere: TokenizerProcess) -> None:
    with pytest.raises(ScoringFailed, match="TypeError"):
        elsewhere.prompts([("a",)])  # type: ignore[list-item]
    assert len(elsewhere.prompts(PAIRS)) == len(PAIRS)


def test_what_is_refused_here_is_refused_there_in_the_same_words(folder: Path) -> None:
    file = folder / "tokenizer.json"
    with pytest.raises(ModelUnavailable) as here:
        PromptTokenizer(read_tokenizer(file), 100)
    with pytest.raises(ModelUnavailable) as there:
        TokenizerProcess(file, 100)
    assert str(there.value) == str(here.value)


def test_added_tokens_of_the_configuration_alone_are_known(tmp_path: Path) -> None:
    make_tokenizer(tmp_path)
    file, config = tmp_path / "tokenizer.json", tmp_path / "tokenizer_config.json"
    whole = read_tokenizer(file)
    definition = json.loads(file.read_text(encoding="utf-8"))
    added = definition["added_tokens"]
    definition["added_tokens"] = added[:-1]
    file.write_text(json.dumps(definition), encoding="utf-8")
    listed = {str(token["id"]): {name: token[name] for name in token if name != "id"} for token in added}
    settings = json.loads(config.read_text(encoding="utf-8")) | {"added_tokens_decoder": listed}
    config.write_text(json.dumps(settings), encoding="utf-8")
    assert read_tokenizer(file).get_added_tokens_decoder() == whole.get_added_tokens_decoder()


def test_a_tokenizer_that_puts_tokens_around_texts_is_left_to_transformers(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tokenizers import processors

    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    words = read_tokenizer(tmp_path / "tokenizer.json")
    frame = CONTROL_TOKENS[0]
    words.post_processor = processors.TemplateProcessing(
        single=f"{frame} $A", special_tokens=[(frame, words.token_to_id(frame))]
    )
    words.save(str(tmp_path / "tokenizer.json"))
    monkeypatch.setattr(qwen3, "LARGE_TOKENIZER", 0)
    model = Qwen3Reranker.load(str(tmp_path))
    assert isinstance(model._tokenizer, PromptTokenizer)
    model.close()


@pytest.mark.parametrize("python", ["/nowhere/python", "/bin/false"])
def test_where_no_process_can_be_started_the_vocabulary_is_read_here(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, python: str
) -> None:
    monkeypatch.setattr(qwen3, "LARGE_TOKENIZER", 0)
    monkeypatch.setattr(sys, "executable", python)
    model = Qwen3Reranker.load(str(folder))
    assert isinstance(model._tokenizer, PromptTokenizer)
    assert "is read here" in caplog.text
    assert len(model.score(PAIRS)) == len(PAIRS)
    model.close()


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
def test_the_process_knows_no_secrets(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISCORD_TOKEN", "zqsecret")
    process = TokenizerProcess(folder / "tokenizer.json", 512)
    environment = Path(f"/proc/{process._process.pid}/environ").read_bytes()
    process.close()
    assert b"PATH" in environment
    assert b"zqsecret" not in environment


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_it_answers_a_bot_that_is_being_stopped_and_does_not_outlive_one_that_was_killed(folder: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from cogs.memory.rerankers import Pair\n"
        "from cogs.memory.rerankers.tokenizer_process import TokenizerProcess\n"
        "process = TokenizerProcess(Path(sys.argv[1]), 512)\n"
        "for _ in range(2):\n"
        "    process.prompts([Pair('a', 'b', 'c')])\n"
        "    print(process._process.pid, flush=True)\n"
        "    sys.stdin.readline()\n"
    )
    bot = subprocess.Popen(
        [sys.executable, "-c", code, str(folder / "tokenizer.json")],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert bot.stdout is not None
    assert bot.stdin is not None
    child = int(bot.stdout.readline())
    os.kill(child, signal.SIGTERM)  # as systemd sends it to all processes of a service
    bot.stdin.write("\n")
    bot.stdin.flush()
    assert int(bot.stdout.readline()) == child
    bot.kill()
    bot.wait()
    while is_running(child):
        time.sleep(0.01)
    bot.stdout.close()
    bot.stdin.close()
