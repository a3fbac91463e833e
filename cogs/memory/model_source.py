"""Where a model's files are: in the models folder, in Hugging Face's cache, or still on the hub.

`find_model` never touches the network; `fetch_model` does nothing else. Only data is ever fetched: safetensors weights,
configuration and tokenizer.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cogs.memory.exceptions import ModelUnavailable
from cogs.memory.hub_download import HubSession, RemoteFile
from cogs.memory.model_names import PINNED_REVISIONS, ModelName, check_operator_name, folder_of, parse_model_name

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

REVISION_FILE: Final = "REVISION"
"""Beside a fetched model's files: its commit, and what was asked for."""

PARTIAL_FOLDER: Final = ".partial"
"""In the models folder: downloads that are not complete yet, and go on where they stopped."""

_WEIGHTS: Final = "model.safetensors"
_INDEX: Final = "model.safetensors.index.json"
_TOKENIZERS: Final = ("tokenizer.json", "vocab.txt", "vocab.json", "sentencepiece.bpe.model", "tokenizer.model")
_LARGEST_HEADER: Final = 100_000_000  # what the safetensors library itself reads at most
_SPARE_BYTES: Final = 64 * 1024 * 1024
_SAMPLE: Final = 1024 * 1024


def find_model(name: str, models_folder: Path | None) -> Path | None:
    """Return the folder of a model that is on this machine, or None. Never touches the network.

    Looked at, in this order: the models folder, then Hugging Face's cache, there first at the revision that the name
    ends with or the project pins, then, if the name ends with none, at whatever ``main`` was when it was downloaded.

    Args:
        name: ``owner/name``, or ``owner/name@revision``.
        models_folder: models in folders of their names; None when there is none.

    Raises:
        ModelNotAllowed: ``name`` is no model name.
        ModelUnavailable: the model is in the models folder, but damaged or incomplete.
    """
    wanted = parse_model_name(name)
    folder = folder_of(wanted, models_folder)
    if folder is not None and _has_revision(folder, wanted.revision):
        if problem := damage(folder):
            raise ModelUnavailable(f"The model {wanted.repo} in the models folder cannot be used: {problem}.")
        return folder
    pinned = PINNED_REVISIONS.get(wanted.repo)
    revisions = (wanted.revision,) if wanted.revision else tuple(filter(None, (pinned, "main")))
    for spelling in wanted.spellings:
        for revision in revisions:
            cached = _in_cache(spelling, revision)
            if cached is not None and not damage(cached):
                return cached
    return None


def fetch_model(
    name: str,
    revision: str | None,
    models_folder: Path,
    progress: Callable[[int, int], None] | None = None,
    *,
    session: HubSession | None = None,
) -> Path:
    """Download a model into the models folder and return its folder. Slow: not for the event loop or the worker.

    The hub's address is ``HF_ENDPOINT``, if that is set. Files arrive in a folder of their own, are checked, and only a
    complete model gets its name. What has arrived when a download breaks off stays, and is not fetched again.

    Args:
        name: ``owner/name``; whoever calls has checked it against the allow-list.
        revision: commit, tag or branch; None for the project's pinned commit, or ``main`` if there is none.
        models_folder: where models are kept; made if it does not exist.
        progress: told the bytes that are here and the bytes in all. What it raises ends the download.
        session: the connection to the hub; None for a new one.

    Raises:
        ModelNotAllowed: ``name`` is no model name.
        ModelUnavailable: no hub, no such model, no room, damaged on the way, or already being fetched.
    """
    wanted = parse_model_name(name)
    asked = revision or wanted.revision or PINNED_REVISIONS.get(wanted.repo) or "main"
    with contextlib.ExitStack() as stack:
        hub = session or stack.enter_context(contextlib.closing(HubSession()))
        snapshot = hub.snapshot(wanted.repo, asked)
        try:
            partial = models_folder / PARTIAL_FOLDER / f"{wanted.repo.replace('/', '--')}@{snapshot.commit}"
            partial.mkdir(parents=True, exist_ok=True)
            stack.enter_context(_locked(partial, wanted.repo))
            _require_room(snapshot.files, partial, wanted.repo)
            hub.download(snapshot, partial, progress or (lambda _done, _total: None))
            if problem := damage(partial):
                shutil.rmtree(partial)
                raise ModelUnavailable(f"The model {wanted.repo} on the hub cannot be used: {problem}.")
            (partial / REVISION_FILE).write_text(f"{snapshot.commit}\n{asked}\n", encoding="utf-8")
            return _put_in_place(partial, models_folder / wanted.repo)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise ModelUnavailable(f"The model {wanted.repo} cannot be stored: {reason}.") from error


def locate_model(name_or_folder: str, models_folder: Path | None, allowed: Collection[str]) -> Path:
    """Return the folder of a model that the operator names, in a profile or in the settings.

    Args:
        name_or_folder: a local folder, or the name of a model that is allowed and on this machine.
        models_folder: as for `find_model`.
        allowed: as for `check_model_name`.

    Raises:
        ModelNotAllowed: it is no folder, and the name is not on the list.
        ModelUnavailable: it is not on this machine, damaged or incomplete.
    """
    named = named_model(name_or_folder, models_folder, allowed)
    if isinstance(named, Path):
        return named
    found = find_model(str(named), models_folder)
    if found is None:
        raise ModelUnavailable(
            f"The model {named} is not on this machine yet: fetch it, or put it in the models folder."
        )
    return found


def named_model(name_or_folder: str, models_folder: Path | None, allowed: Collection[str]) -> Path | ModelName:
    """Return the local folder, or else the name if it is allowed; arguments and errors are those of `locate_model`."""
    if (folder := as_folder(name_or_folder)) is not None:
        return folder
    if looks_like_path(name_or_folder):
        raise ModelUnavailable(f"There is no folder {name_or_folder[:200]!r}.")
    return check_operator_name(name_or_folder, allowed, models_folder)


def as_folder(text: str) -> Path | None:
    """Return the folder whose path the text is, or None; a text that no path can be is none."""
    path = os.path.expanduser(text)  # noqa: PTH111 - Path.expanduser fails on an unknown user
    return Path(path) if os.path.isdir(path) else None  # noqa: PTH112 - Path.is_dir fails on a text too long


def looks_like_path(text: str) -> bool:
    """Whether a text is the path of a folder, there or not, and no model name."""
    return text.startswith((".", "/", "~", "\\")) or Path(text).is_absolute()


def damage(folder: Path) -> str:
    """Return what is missing or broken in a model's folder, as the rest of a sentence; empty if nothing is."""
    if not (folder / "config.json").is_file():
        return "it has no config.json"
    if not any((folder / tokenizer).is_file() for tokenizer in _TOKENIZERS):
        return "it has no tokenizer"
    try:
        weights = weight_files(folder)
        problems = (_truncation(folder / name) for name in weights)
        return next(filter(None, problems), "")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return f"its weights cannot be read ({type(error).__name__})"


def fingerprint(folder: Path) -> str:
    """Return 12 digits that differ between different weights and do not depend on where they lie."""
    digest = hashlib.blake2b(digest_size=6)
    patterns = ("config.json", "modules.json", "*/config.json", "**/*.safetensors")
    for path in sorted({path for pattern in patterns for path in folder.glob(pattern)}):
        size = path.stat().st_size
        digest.update(f"{path.relative_to(folder).as_posix()}\x00{size}\x00".encode())
        with path.open("rb") as file:
            digest.update(file.read(_SAMPLE))
            file.seek(max(0, size - _SAMPLE))
            digest.update(file.read(_SAMPLE))
    return digest.hexdigest()


def weight_files(folder: Path) -> list[str]:
    """Return the names of the safetensors files that a model's folder should hold."""
    if not (folder / _INDEX).is_file():
        return [_WEIGHTS]
    index: dict[str, Any] = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
    return sorted(set(index["weight_map"].values()))


def _truncation(path: Path) -> str:
    """Compare a safetensors file's length with what its header announces.

    The format: 8 bytes with the header's length, the header as JSON, the tensors at the offsets that it names.
    """
    if not path.is_file():
        return f"{path.name} is missing"
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else _LARGEST_HEADER + 1
        if length > min(size, _LARGEST_HEADER):
            return f"{path.name} is no safetensors file, or truncated"
        header: dict[str, Any] = json.loads(file.read(length))
    ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
    expected = 8 + length + max(ends, default=0)
    return "" if size >= expected else f"{path.name} is truncated ({size} of {expected} bytes)"


def _has_revision(folder: Path, revision: str | None) -> bool:
    """Whether a folder in the models folder is of a revision; one that the operator put there is of any."""
    marker = folder / REVISION_FILE
    return revision is None or not marker.is_file() or revision in marker.read_text(encoding="utf-8").split()


def _in_cache(repo: str, revision: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(repo, "config.json", cache_dir=_cache_folder(), revision=revision)
    return Path(config).parent if isinstance(config, str) else None


def _cache_folder() -> Path:
    """Return the folder of Hugging Face's cache, by the variables that its library reads when it is imported."""
    if cache := os.environ.get("HF_HUB_CACHE"):
        return Path(cache).expanduser()
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Path(home).expanduser() / "hub"


@contextlib.contextmanager
def _locked(partial: Path, repo: str) -> Iterator[None]:
    """Keep other processes away from a download."""
    from filelock import FileLock, Timeout

    try:
        with FileLock(f"{partial}.lock", timeout=0):
            yield
    except Timeout as error:
        raise ModelUnavailable(f"The model {repo} is being fetched already.") from error


def _require_room(files: tuple[RemoteFile, ...], partial: Path, repo: str) -> None:
    here = sum(path.stat().st_size for path in partial.rglob("*") if path.is_file())
    missing = sum(file.size for file in files) - here
    free = shutil.disk_usage(partial).free
    if free < missing + _SPARE_BYTES:
        raise ModelUnavailable(
            f"There is no room for the model {repo}: it takes {_gigabytes(missing)}, {_gigabytes(free)} are free."
        )


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB"


def _put_in_place(partial: Path, target: Path) -> Path:
    """Give a complete model its name; one that was fetched before makes way, one that was put there does not."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        if not (target / REVISION_FILE).is_file():
            raise ModelUnavailable(
                f"The folder of {target.parent.name}/{target.name} in the models folder is in the way: move it away, "
                "then the download goes on."
            )
        former = partial.with_name(f"{partial.name}.former")
        shutil.rmtree(former, ignore_errors=True)
        target.rename(former)
        partial.rename(target)
        shutil.rmtree(former)
    else:
        partial.rename(target)
    return target
