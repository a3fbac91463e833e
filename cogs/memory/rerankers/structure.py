"""The structure ranker: a small model over `structure_features`, on top of windowed late interaction.

Its weights come with the program (``structure_weights.json``, which names the data and the command that made them).
A feature that hardly varied in training has no weight, and standardised values are clipped: an unfamiliar server can
weaken the ranker but not turn it against the question.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np

from cogs.memory.exceptions import ModelUnavailable, ScoringFailed

if TYPE_CHECKING:
    from numpy.typing import NDArray


TOP = 56
"""Candidates by base score that are loaded whole and ranked by structure."""
CLIP = 5.0
"""Bound of a standardised feature."""
WEIGHTS_FILE = "structure_weights.json"
_ARRAYS = ("mean", "scale", "weight", "hidden", "bias", "output")


@dataclass(frozen=True, slots=True)
class StructureWeights:
    """A fitted ranker: a linear score plus tanh units over standardised features."""

    names: tuple[str, ...]
    mean: NDArray[np.float32]
    """(features,)"""
    scale: NDArray[np.float32]
    """(features,)"""
    weight: NDArray[np.float32]
    """(features,)"""
    hidden: NDArray[np.float32]
    """(units, features)"""
    bias: NDArray[np.float32]
    """(units,)"""
    output: NDArray[np.float32]
    """(units,)"""

    @classmethod
    def load(cls) -> StructureWeights:
        """Read the weights that come with the program.

        Raises:
            ModelUnavailable: the file is missing or damaged.
        """
        try:
            data = json.loads(resources.files(__package__).joinpath(WEIGHTS_FILE).read_text("utf-8"))
            arrays = {name: np.array(data[name], np.float32) for name in _ARRAYS}
            weights = cls(names=tuple(data["names"]), **arrays)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelUnavailable(
                f"The ranking weights ({WEIGHTS_FILE}) are missing or damaged; reinstall."
            ) from error
        return weights

    def to_json(self) -> dict[str, object]:
        """Return what `load` reads, rounded to what matters."""
        return {"names": self.names, **{n: np.round(getattr(self, n).astype(float), 4).tolist() for n in _ARRAYS}}

    def score(self, names: list[str], values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (candidates,) scores of ``values`` (candidates, features); only their differences mean something.

        Raises:
            ModelUnavailable: the weights were fitted to other features.
            ScoringFailed: a score is not finite.
        """
        if tuple(names) != self.names:
            raise ModelUnavailable("The ranking weights do not fit this version's features; reinstall.")
        standard = np.clip((values - self.mean) / self.scale, -CLIP, CLIP)
        scores: NDArray[np.float32] = (
            standard @ self.weight + np.tanh(standard @ self.hidden.T + self.bias) @ self.output
        )
        if not np.isfinite(scores).all():
            raise ScoringFailed("The structure ranker gave scores that are not finite.")
        return scores
