"""Which models may be loaded, and at which revision.

A name comes from two kinds of people. The operator writes profiles and settings: he may name any local folder, and any
revision of a model on the allow-list. Whoever types an admin command in a chat may name what is on the allow-list or
lies in the models folder, and nothing that could leave that folder or reach another server.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from cogs.memory.exceptions import ModelNotAllowed

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

PINNED_REVISIONS: Final[Mapping[str, str | None]] = MappingProxyType(
    {
        "Qwen/Qwen3-Reranker-0.6B": "6e9e69830b95c52b5fd889b7690dda3329508de3",
        "Qwen/Qwen3-Reranker-4B": "f16fc5d5d2b9b1d0db8280929242745d79794ef5",
        "Qwen/Qwen3-Reranker-8B": "5fa94080caafeaa45a15d11f969d7978e087a3db",
        "Qwen/Qwen3-Embedding-0.6B": "c54f2e6e80b2d7b7de06f51cec4959f6b3e03418",
        "Qwen/Qwen3-Embedding-4B": "5cf2132abc99cad020ac570b19d031efec650f2b",
        "cross-encoder/ms-marco-TinyBERT-L2-v2": "81d1926f67cb8eee2c2be17ca9f793c7c3bd20cc",
        "cross-encoder/ms-marco-MiniLM-L6-v2": "c5ee24cb16019beea0893ab7796b1df96625c6b8",
        "cross-encoder/ms-marco-MiniLM-L12-v2": "7b0235231ca2674cb8ca8f022859a6eba2b1c968",
        # no revision is known for certain: whoever wants one writes it behind the name, name@revision
        "cross-encoder/ms-marco-electra-base": None,
        "cross-encoder/mmarco-mMiniLMv2-L12-H384-v1": "1427fd652930e4ba29e8149678df786c240d8825",
        "BAAI/bge-reranker-base": "2cfc18c9415c912f9d8155881c133215df768a70",
        "BAAI/bge-reranker-v2-m3": "953dc6f6f85a1b2dbfca4c34a2796e7dde08d41e",
    }
)
"""Models that the project names → the commit that is fetched."""

DEFAULT_ALLOWED: Final = frozenset(PINNED_REVISIONS)
"""What may be loaded without being asked for in the settings."""

CURRENT_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "cross-encoder/ms-marco-TinyBERT-L-2-v2": "cross-encoder/ms-marco-TinyBERT-L2-v2",
        "cross-encoder/ms-marco-MiniLM-L-6-v2": "cross-encoder/ms-marco-MiniLM-L6-v2",
        "cross-encoder/ms-marco-MiniLM-L-12-v2": "cross-encoder/ms-marco-MiniLM-L12-v2",
    }
)
"""Names that models once had, as older guides and downloads still have them → their names now."""

MAX_NAME_LENGTH: Final = 200

_WORD: Final = r"[A-Za-z0-9](?:[A-Za-z0-9_-]|\.(?!\.))*"
_NAME: Final = re.compile(rf"(?P<repo>{_WORD}(?:/{_WORD})?)(?:@(?P<revision>{_WORD}))?")
_LONGEST_SHOWN: Final = 60


class ModelName(NamedTuple):
    """A model by name; as text it is ``name`` or ``name@revision``."""

    repo: str
    """``owner/name``, or the name of a folder in the models folder."""
    revision: str | None = None
    """A commit, tag or branch; None for whatever there is."""

    def __str__(self) -> str:
        return self.repo if self.revision is None else f"{self.repo}@{self.revision}"

    @property
    def spellings(self) -> tuple[str, ...]:
        """The name and those that the model had before."""
        return (self.repo, *(former for former, current in CURRENT_NAMES.items() if current == self.repo))


def parse_model_name(text: str) -> ModelName:
    """Read ``name``, ``owner/name`` or either with ``@revision``; a former name becomes the current one.

    Raises:
        ModelNotAllowed: it is none of these: a URL, a path, a text with control characters.
    """
    match = _NAME.fullmatch(text) if len(text) <= MAX_NAME_LENGTH else None
    if match is None:
        raise ModelNotAllowed(f"{_shown(text)} is no model name: write owner/name, such as Qwen/Qwen3-Reranker-0.6B.")
    return ModelName(CURRENT_NAMES.get(match["repo"], match["repo"]), match["revision"])


def check_model_name(name: str, allowed: Collection[str], models_folder: Path | None) -> ModelName:
    """Return the model that somebody in a chat may load by this name.

    Args:
        name: as it was typed.
        allowed: names, or ``name@revision`` to pin one: `DEFAULT_ALLOWED` and the operator's.
        models_folder: what lies in it is allowed too.

    Raises:
        ModelNotAllowed: it is not on the list, or at another revision; the message says what is allowed.
    """
    wanted = parse_model_name(name)
    pinned = _pins(allowed)
    if wanted.repo in pinned:
        revision = pinned[wanted.repo]
        if wanted.revision not in (None, revision or PINNED_REVISIONS.get(wanted.repo)):
            raise ModelNotAllowed(f"{wanted.repo} is pinned to another revision; MODELS_ALLOWED may name this one.")
        return ModelName(wanted.repo, revision or wanted.revision)
    if wanted.revision is None and folder_of(wanted, models_folder) is not None:
        return wanted
    raise _not_allowed(wanted, pinned)


def check_operator_name(name: str, allowed: Collection[str], models_folder: Path | None) -> ModelName:
    """Return the model that the operator means: as `check_model_name`, but he may name any revision.

    Raises:
        ModelNotAllowed: the name is no name or not on the list; the message says what is allowed.
    """
    wanted = parse_model_name(name)
    pinned = _pins(allowed)
    if wanted.revision is not None and wanted.repo in pinned:
        return wanted
    return check_model_name(name, allowed, models_folder)


def folder_of(name: ModelName, models_folder: Path | None) -> Path | None:
    """Return the model of that name in the models folder, or None; links that lead out of it do not count.

    A model lies in ``owner/name``, or in ``name`` alone as a git clone puts it.
    """
    if models_folder is None:
        return None
    root = models_folder.resolve()
    for spelling in name.spellings:
        for relative in dict.fromkeys((spelling, spelling.rpartition("/")[2])):
            folder = models_folder / relative
            if (folder / "config.json").is_file() and folder.resolve().is_relative_to(root):
                return folder
    return None


def _pins(allowed: Collection[str]) -> dict[str, str | None]:
    """Return repository → the revision that the list pins it to; an entry with a revision wins over one without."""
    names = sorted((parse_model_name(entry) for entry in allowed), key=lambda name: name.revision is not None)
    return {name.repo: name.revision for name in names}


def _not_allowed(name: ModelName, pinned: Mapping[str, str | None]) -> ModelNotAllowed:
    return ModelNotAllowed(
        f"{_shown(str(name))} is not on the list of models that may be loaded. "
        f"Allowed are {', '.join(sorted(pinned))}, and what lies in the models folder; "
        "the operator adds others with MODELS_ALLOWED."
    )


def _shown(text: str) -> str:
    """Return a text that somebody typed, bounded and without anything that is not printable."""
    return ascii(text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}...")
