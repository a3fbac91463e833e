"""From a profile to its encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cogs.memory.model_names import DEFAULT_ALLOWED
from profiles import detect_hardware
from profiles.memory_profile import EMBEDDED_MODEL

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from cogs.memory.embedders import Encoder
    from profiles import MemoryProfile


def load_encoder(
    profile: MemoryProfile,
    *,
    models_folder: Path | None = None,
    allowed: Collection[str] = DEFAULT_ALLOWED,
    api_key: str | None = None,
) -> Encoder:
    """Load the profile's embedder; slow, so never on the event loop. Never touches the network.

    Args:
        profile: names it, and how it works.
        models_folder: where the operator keeps models.
        allowed: names that may be loaded, see `check_model_name`.
        api_key: for an embedding server.

    Raises:
        ModelUnavailable: it is missing or damaged.
    """
    if profile.embedder_url is not None:
        from cogs.memory.embedders.served import ServedEncoder

        return ServedEncoder.load(profile, api_key=api_key)
    if profile.embedder == EMBEDDED_MODEL:
        from cogs.memory.embedders.minilm import MiniLMEncoder

        return MiniLMEncoder.load(
            dtype=profile.embedder_dtype,
            batch_tokens=profile.embedder_batch_tokens,
            max_length=profile.embedder_max_length,
            threads=profile.threads or detect_hardware(probe_accelerators=False).physical_cores,
        )
    from cogs.memory.embedders.sentence_transformer import SentenceTransformerEncoder

    return SentenceTransformerEncoder.load(profile, models_folder=models_folder, allowed=allowed)
