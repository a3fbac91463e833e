"""A large vocabulary in a process of its own: to read it would hold up every thread of this one.

Qwen's 151,000 words take half a second of processor time to build, a quarter more to read and a twentieth to free, each
in one step that holds the interpreter's lock. No way of building a ``tokenizers.Tokenizer`` lets go of it, so loading a
first model while another serves would stop that one, and the event loop. The process has the vocabulary in place of
this one: its 120 MB are missing here. It knows no secrets, writes no files, outlives nobody, and is started again
should it end.

One line of JSON each way:

    → at the start   {"answers": [yes, no], "vocabulary": …, "has_frame": …} or {"unreadable": "…"} or {"refused": "…"}
    ← asked          ["prompts", [[query, document, instruction], …]], or "document_lengths"
    → answered       {"result": […]} or {"failed": "TypeError"}
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cogs.memory.exceptions import ModelUnavailable, ScoringFailed
from cogs.memory.rerankers import Pair
from cogs.memory.rerankers.qwen3_prompt import AnswerTokens, Prompt, PromptTokenizer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tokenizers import Tokenizer

log = logging.getLogger(__name__)

_ROOT: Final = Path(__file__).resolve().parents[3]
_NEEDED: Final = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR")
"""Variables that the process gets; the others, with their tokens and keys, are not its business."""


class NoProcess(ModelUnavailable):
    """The process cannot be started here: the vocabulary has to be read in this one."""


class TokenizerProcess:
    """A `PromptTokenizer` elsewhere; its methods may be called from any thread.

    Args:
        file: a ``tokenizer.json``.
        max_length: as for `PromptTokenizer`.

    Attributes:
        answers: as of `PromptTokenizer`.
        max_length: as given.
        vocabulary: how many words there are.
        has_frame: as of `PromptTokenizer`.

    Raises:
        NoProcess: a sandbox or the lack of memory forbids one.
        ModelUnavailable: the file cannot be read, or `PromptTokenizer` refuses what is in it.
    """

    def __init__(self, file: Path, max_length: int) -> None:
        self.max_length = max_length
        self._file = file
        self._lock = threading.Lock()
        self._is_closed = False
        self._begin()

    def prompts(self, pairs: Sequence[Pair]) -> list[Prompt]:
        """See `PromptTokenizer.prompts`. Raises ScoringFailed."""
        return [Prompt(*map(tuple, spans)) for spans in self._ask("prompts", pairs)]

    def document_lengths(self, pairs: Sequence[Pair]) -> list[int]:
        """See `PromptTokenizer.document_lengths`. Raises ScoringFailed."""
        return self._ask("document_lengths", pairs)

    def close(self) -> None:
        """End the process; may be called twice, also while it is being asked."""
        self._is_closed = True
        self._end()

    def _begin(self) -> None:
        try:
            process = _start(self._file, self.max_length)
        except OSError as error:
            raise NoProcess("The process that reads the reranker's tokenizer cannot be started.") from error
        self._process = process
        self._end = weakref.finalize(self, _end, process)
        try:
            said: dict[str, Any] = _exchange(process, None)
        except (OSError, EOFError) as error:
            self._end()
            raise NoProcess("The process that reads the reranker's tokenizer ended at once.") from error
        if "answers" not in said:
            self._end()
            raise ModelUnavailable(said.get("refused") or f"The reranker's tokenizer is damaged: {said['unreadable']}.")
        self.answers = AnswerTokens(*said["answers"])
        self.vocabulary: int = said["vocabulary"]
        self.has_frame: bool = said["has_frame"]

    def _ask(self, method: str, pairs: Sequence[Pair]) -> list[Any]:
        question = [method, pairs]
        with self._lock:
            try:
                answer = _exchange(self._process, question)
            except (OSError, EOFError):
                answer = self._ask_again(question)
        if "failed" in answer:
            raise ScoringFailed(f"The reranker's tokenizer failed ({answer['failed']}).")
        result: list[Any] = answer["result"]
        return result

    def _ask_again(self, question: object) -> dict[str, Any]:
        """Ask a new process: the old one has ended, such as for want of memory."""
        self._end()
        if self._is_closed:
            raise ScoringFailed("The reranker model was unloaded.")
        log.warning("The tokenizer's process has ended; it is started again")
        self._begin()
        try:
            return _exchange(self._process, question)
        except (OSError, EOFError) as error:
            raise ScoringFailed("The tokenizer's process ends whenever it is asked.") from error


def _start(file: Path, max_length: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - this interpreter with this module
        [sys.executable, "-m", __name__, str(file), str(max_length)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # what goes wrong comes as an answer
        env=_environment(),
        start_new_session=True,  # Ctrl-C is meant for the bot, which still has questions to answer
    )


def _environment() -> Mapping[str, str]:
    kept = {name: value for name in _NEEDED if (value := os.environ.get(name)) is not None}
    found_here = os.pathsep.join([str(_ROOT), *filter(None, sys.path)])
    return kept | {"PYTHONPATH": found_here, "PYTHONDONTWRITEBYTECODE": "1", "TOKENIZERS_PARALLELISM": "false"}


def _exchange(process: subprocess.Popen[bytes], question: object) -> dict[str, Any]:
    """Ask, unless it is None, and return the answer. Raises OSError or EOFError when the process has ended."""
    if process.stdin is None or process.stdout is None:
        raise EOFError
    try:
        if question is not None:
            process.stdin.write(json.dumps(question).encode() + b"\n")
            process.stdin.flush()
        line = process.stdout.readline()
    except ValueError as error:  # closed by another thread
        raise EOFError from error
    if not line.endswith(b"\n"):
        raise EOFError
    answer: dict[str, Any] = json.loads(line)
    return answer


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()  # it has nothing to tidy up
    process.wait()
    for pipe in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):  # a question that it has not read
            if pipe is not None:
                pipe.close()


# --- the other side


def read_tokenizer(file: Path) -> Tokenizer:
    """Read a ``tokenizer.json`` with the added tokens that only the ``tokenizer_config.json`` beside it names."""
    from tokenizers import AddedToken, Tokenizer

    tokenizer: Tokenizer = Tokenizer.from_file(str(file))
    config = file.with_name("tokenizer_config.json")
    if config.is_file():
        listed = json.loads(config.read_text(encoding="utf-8")).get("added_tokens_decoder") or {}
        known = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
        missing = [token for _, token in sorted(listed.items(), key=lambda item: int(item[0]))]
        tokenizer.add_tokens([AddedToken(**token) for token in missing if token["content"] not in known])
    return tokenizer


def serve(file: Path, max_length: int) -> None:
    """Read the tokenizer and answer, line by line, until nobody asks any more."""
    try:
        words = read_tokenizer(file)
        tokenizer = PromptTokenizer(words, max_length)
    except ModelUnavailable as error:
        _tell({"refused": str(error)})
        return
    except Exception as error:  # noqa: BLE001 - all that tokenizers raises; the other side words it
        _tell({"unreadable": type(error).__name__})
        return
    _tell(
        {"answers": tokenizer.answers, "vocabulary": words.get_vocab_size(), "has_frame": tokenizer.has_frame},
    )
    methods = {"prompts": tokenizer.prompts, "document_lengths": tokenizer.document_lengths}
    for line in sys.stdin.buffer:
        method, pairs = json.loads(line)
        try:
            _tell({"result": methods[method]([Pair(*pair) for pair in pairs])})
        except Exception as error:  # noqa: BLE001 - one question must not end it; the other side raises
            _tell({"failed": type(error).__name__})


def _tell(message: object) -> None:
    sys.stdout.buffer.write(json.dumps(message).encode() + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a service's stop reaches all its processes: the bot ends this one
    serve(Path(sys.argv[1]), int(sys.argv[2]))
