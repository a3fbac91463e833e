"""Which words tell of times, numbers, reasons, places or persons. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_WORDS = {
    "time": """
        yesterday today tonight tomorrow ago recently since week weeks weekend weekends month months year years birthday
        anniversary monday mondays tuesday tuesdays wednesday wednesdays thursday thursdays friday fridays saturday
        saturdays sunday sundays spring summer autumn winter january february march april june july august september
        october november december gestern heute morgen woche monat jahr ayer hoy mañana semana mes año am pm uhr
    """,
    "number": "one two three four five six seven eight nine ten couple dozen once twice",
    "reason": "because cuz cause since so reason weil denn porque",
    "place": "in at to from near on into",
    "first person": "i i'm im i've ive i'll i'd my me mine we our us ich mein yo mi",
    "second person": "you your you're u ur du dein tu tú",
}
_KINDS_OF: dict[str, list[str]] = {}
for _kind, _listed in _WORDS.items():
    for _word in _listed.split():
        _KINDS_OF.setdefault(_word, []).append(_kind)


def count_kinds(texts: Sequence[Sequence[str]]) -> dict[str, NDArray[np.float32]]:
    """Return how many words of each kind each text has, (texts,) by kind; digits make a number too."""
    counts = {kind: [0] * len(texts) for kind in _WORDS}
    for position, words in enumerate(texts):
        for word in words:
            if word in _KINDS_OF:
                for kind in _KINDS_OF[word]:
                    counts[kind][position] += 1
            elif word[0].isdigit():
                counts["number"][position] += 1
    return {kind: np.array(of_texts, dtype=np.float32) for kind, of_texts in counts.items()}
