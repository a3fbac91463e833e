"""Reading a model folder or a cached hub model, with a plain sentence for everything that can be wrong with it."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakValueDictionary

from cogs.memory.exceptions import ModelUnavailable
from cogs.memory.library_imports import importing_libraries

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tokenizers import Tokenizer

_SAMPLE = 64 * 1024


class Source(NamedTuple):
    """Where a model comes from."""

    name: str
    """A local folder or a name on the hub."""
    revision: str | None = None
    local_files_only: bool = True

    def options(self) -> dict[str, Any]:
        """Return what every ``from_pretrained`` gets: nothing but data is ever loaded."""
        return {"revision": self.revision, "local_files_only": self.local_files_only, "trust_remote_code": False}

    def unavailable(self, what: str) -> ModelUnavailable:
        """Return the error that this model cannot be used because of ``what``."""
        return ModelUnavailable(f"The reranker model {self.name} {what}")


def load_config(source: Source, architecture: str) -> Any:
    """Read ``config.json``; ``architecture`` is how the name of the wanted one ends.

    Raises:
        ModelUnavailable: there is none, or it describes another architecture.
    """
    with importing_libraries():
        from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(source.name, **source.options())
    except (OSError, ValueError) as error:
        if Path(source.name).is_dir():
            raise source.unavailable("has no readable config.json.") from error
        where = "on this machine" if source.local_files_only else "here or on the hub"
        raise source.unavailable(f"is not {where}: give a local folder or download it first.") from error
    architectures = list(config.architectures or [])
    if not any(name.endswith(architecture) for name in architectures):
        found = ", ".join(architectures) or config.model_type
        raise source.unavailable(f"is a {found}, not a {architecture}.")
    return config


_TOKENIZER_FILES = (
    "added_tokens.json",
    "config.json",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
)
_tokenizers: WeakValueDictionary[object, Tokenizer] = WeakValueDictionary()


def load_tokenizer(source: Source) -> Tokenizer:
    """Read the tokenizer, or return the one that a model in memory has read from the same files.

    Reading 250,000 words, as of a multilingual cross-encoder, holds the interpreter's lock for about a second of
    processor time, in which nothing else runs; so a model that is loaded beside its predecessor does not read them
    again. (A Qwen3's are read in another process, see `tokenizer_process`.) The result must not be changed.

    Raises:
        ModelUnavailable: it is missing or is not of the fast kind (``tokenizer.json``).
    """
    files = _tokenizer_files(source)
    known = _tokenizers.get(files)
    if known is not None:
        return known
    tokenizer = _read_tokenizer(source)
    if files is not None:
        _tokenizers[files] = tokenizer
    return tokenizer


def _tokenizer_files(source: Source) -> object:
    """Return what changes with a folder's tokenizer; None for what lies elsewhere."""
    folder = Path(source.name)
    if not folder.is_dir():
        return None
    found = [path for name in _TOKENIZER_FILES if (path := folder / name).is_file()]
    return str(folder.resolve()), tuple((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in found)


def _read_tokenizer(source: Source) -> Tokenizer:
    with importing_libraries():
        from transformers import AutoTokenizer

    try:
        loaded = AutoTokenizer.from_pretrained(source.name, **source.options())
    except (OSError, ValueError, TypeError, KeyError, ImportError) as error:
        raise source.unavailable("has no readable tokenizer.") from error
    tokenizer: Tokenizer | None = getattr(loaded, "backend_tokenizer", None)
    if tokenizer is None:
        raise source.unavailable("has no tokenizer.json.")
    return tokenizer


def require_device(device: str) -> None:
    """Refuse a device that this machine lacks.

    Raises:
        ModelUnavailable: there is no such device.
    """
    import torch

    if (device.startswith("cuda") and not torch.cuda.is_available()) or (
        device == "mps" and not torch.backends.mps.is_available()
    ):
        raise ModelUnavailable(f"The reranker cannot run on {device}: this machine, or its build of torch, has none.")


@contextlib.contextmanager
def reading_weights(source: Source) -> Iterator[None]:
    """Turn what goes wrong while weights are read into `ModelUnavailable`; other errors pass."""
    from safetensors import SafetensorError

    try:
        with _no_progress_bar():
            yield
    except (OSError, SafetensorError, ValueError) as error:
        raise source.unavailable("has no complete safetensors weights: download it again.") from error
    except RuntimeError as error:
        if "mismatch" not in str(error):
            raise
        raise source.unavailable("has weights of other shapes than its config.json says.") from error


@contextlib.contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Keep transformers from drawing a bar amid the lines of the log."""
    from transformers.utils import logging as untyped

    logging: Any = untyped
    was_enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_enabled:
            logging.enable_progress_bar()


def stored_weights(source: Source) -> frozenset[str]:
    """Return the names of the weights in a model's files, without reading the weights.

    Raises:
        ModelUnavailable: there are no safetensors files.
    """
    from safetensors import safe_open
    from transformers.utils.hub import cached_file

    options = {"revision": source.revision, "local_files_only": source.local_files_only}
    with reading_weights(source):
        index = cached_file(
            source.name, "model.safetensors.index.json", _raise_exceptions_for_missing_entries=False, **options
        )
        if index is not None:
            return frozenset(json.loads(Path(index).read_text(encoding="utf-8"))["weight_map"])
        weights = cached_file(source.name, "model.safetensors", **options)
        with safe_open(str(weights), framework="pt") as file:
            return frozenset(file.keys())


def fingerprint(source: Source, config: Any) -> str:
    """Return what tells these weights from others of the same name: a commit, or a digest of a folder's files."""
    folder = Path(source.name)
    if not folder.is_dir():
        return str(getattr(config, "_commit_hash", None) or source.revision or "main")
    digest = hashlib.blake2b(digest_size=6)
    for path in sorted(folder.glob("*.json")) + sorted(folder.glob("*.safetensors")):
        size = path.stat().st_size
        digest.update(f"{path.name}:{size}".encode())
        with path.open("rb") as file:
            digest.update(file.read(_SAMPLE))
            file.seek(max(0, size - _SAMPLE))
            digest.update(file.read(_SAMPLE))
    return digest.hexdigest()
