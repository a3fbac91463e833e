"""What providers say in their own name, in English and German."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyTexts:
    """The sentences of one language; what stands in braces is filled in with `str.format`."""

    # quotes
    remembered: str = "Here is what I remember:"
    quoted: str = "> {author}, {date}: {text} {number}"
    nothing: str = "I don't remember anything about that."

    # why a language model gave no answer, by `Reason`
    unreachable: str = "The language model cannot be reached right now."
    slow: str = "The language model took too long."
    loading: str = "The language model is still loading."
    busy: str = "The language model has too much to do right now."
    access: str = "The language model's server does not accept this bot's key."
    no_model: str = "The language model that is set for replies is not available."
    refused: str = "The language model's server refused this conversation."
    too_long: str = "This conversation is too long for the language model."
    failing: str = "The language model failed."
    unreadable: str = "The language model's answer could not be read."
    broke_off: str = "The language model stopped in the middle of its answer."
    empty: str = "The language model gave no answer."


ENGLISH: Final = ReplyTexts()
GERMAN: Final = ReplyTexts(
    remembered="Daran erinnere ich mich:",
    nothing="Daran erinnere ich mich nicht.",
    unreachable="Das Sprachmodell ist gerade nicht erreichbar.",
    slow="Das Sprachmodell hat zu lange gebraucht.",
    loading="Das Sprachmodell wird noch geladen.",
    busy="Das Sprachmodell hat gerade zu viel zu tun.",
    access="Der Server des Sprachmodells nimmt den Schlüssel dieses Bots nicht an.",
    no_model="Das Sprachmodell, das für Antworten eingestellt ist, ist nicht verfügbar.",
    refused="Der Server des Sprachmodells hat dieses Gespräch abgelehnt.",
    too_long="Dieses Gespräch ist zu lang für das Sprachmodell.",
    failing="Das Sprachmodell ist gescheitert.",
    unreadable="Die Antwort des Sprachmodells war nicht lesbar.",
    broke_off="Das Sprachmodell hat mitten in der Antwort aufgehört.",
    empty="Das Sprachmodell hat nicht geantwortet.",
)


def reply_texts_for(locale: object) -> ReplyTexts:
    """Return the texts of a user's or server's language (e.g. "de"); English where there is no translation."""
    return GERMAN if str(locale) == "de" else ENGLISH
