"""The texts of `/memory backfill`, in both languages. As in `texts`: one field for each sentence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import discord

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillTexts:
    """The sentences of one language; what stands in braces is filled in with `str.format`."""

    # what it is doing
    running: str = "Reading the history"
    paused: str = "Paused"
    waiting: str = "Waiting; it goes on by itself"
    done: str = "The history is read"
    cancelled: str = "Cancelled. What was read stays, and the next back-fill goes on from there."
    failed: str = "The back-fill has stopped."
    never: str = "No history was read yet; `/memory backfill` begins."
    live_until: str = "This message follows no longer; press **{refresh}** to go on watching."

    # how far it is
    channels_one: str = "{done} of 1 channel"
    channels: str = "{done} of {count} channels"
    messages_one: str = "1 message"
    messages: str = "{count} messages"
    rate: str = "{rate} messages/s"
    left: str = "about {time} left"
    refused_one: str = "There is 1 channel that I may not read"
    refused: str = "There are {count} channels that I may not read"
    refused_why: str = "; I need *View Channel* and *Read Message History* there, and will look again."
    seconds: str = "{count} s"
    minutes: str = "{count} min"
    hours: str = "{count} h"
    days: str = "{count} days"
    thousands: str = ","

    # buttons
    pause: str = "Pause"
    resume: str = "Resume"
    cancel: str = "Cancel"
    refresh: str = "Refresh"

    # on joining
    on_join_allowed: str = "When I join this server, I read its history by myself."
    on_join_denied: str = "I read this server's history only when somebody asks for it with `/memory backfill`."

    # refusals
    no_content: str = (
        "I cannot read messages yet: the owner of this bot has to switch on *Message Content Intent* for it in "
        "Discord's developer portal."
    )
    not_wanted: str = "That channel is not remembered here; an admin can change that with `/memory channels`."
    not_yours: str = "Only who began this, or who may manage this server, can do that."

    def number(self, count: float) -> str:
        """Return a whole number as people of this language write it."""
        return f"{count:,.0f}".replace(",", self.thousands)


ENGLISH: Final = BackfillTexts()

GERMAN: Final = BackfillTexts(
    running="Der Verlauf wird gelesen",
    paused="Angehalten",
    waiting="Wartet und macht von selbst weiter",
    done="Der Verlauf ist gelesen",
    cancelled="Abgebrochen. Was gelesen ist, bleibt, und beim nächsten Mal geht es dort weiter.",
    failed="Das Einlesen ist stehen geblieben.",
    never="Es wurde noch kein Verlauf gelesen; `/memory backfill` fängt damit an.",
    live_until="Diese Nachricht folgt nicht mehr; **{refresh}** zeigt, wie es weitergeht.",
    channels_one="{done} von 1 Kanal",
    channels="{done} von {count} Kanälen",
    messages_one="1 Nachricht",
    messages="{count} Nachrichten",
    rate="{rate} Nachrichten/s",
    left="noch etwa {time}",
    refused_one="Einen Kanal darf ich nicht lesen",
    refused="{count} Kanäle darf ich nicht lesen",
    refused_why="; ich brauche dort *Kanal anzeigen* und *Nachrichtenverlauf anzeigen* und sehe wieder nach.",
    days="{count} Tage",
    thousands=".",
    pause="Anhalten",
    resume="Weiter",
    cancel="Abbrechen",
    refresh="Auffrischen",
    on_join_allowed="Wenn ich auf diesen Server komme, lese ich seinen Verlauf von selbst.",
    on_join_denied="Ich lese den Verlauf dieses Servers nur, wenn es jemand mit `/memory backfill` verlangt.",
    no_content=(
        "Ich kann noch keine Nachrichten lesen: Wem dieser Bot gehört, muss dafür im Entwicklerportal von Discord "
        "*Message Content Intent* einschalten."
    ),
    not_wanted="Dieser Kanal wird hier nicht gemerkt; wer den Server verwaltet, ändert das mit `/memory channels`.",
    not_yours="Das kann nur, wer damit angefangen hat oder diesen Server verwaltet.",
)

COMMAND_TEXTS: Final[Mapping[str, str]] = {
    "Admins: read what was said here before I came; goes on where it stopped": (
        "Admins: lesen, was hier vor meiner Zeit gesagt wurde; macht weiter, wo es aufgehört hat"
    ),
    "Only this channel, with its threads, from its newest message": (
        "Nur diesen Kanal mit seinen Threads, von der neuesten Nachricht an"
    ),
    "Only decide whether I may begin by myself when I join this server": (
        "Nur festlegen, ob ich von selbst anfangen darf, wenn ich auf diesen Server komme"
    ),
}
"""German for Discord's menus, by the English text."""


def backfill_texts(locale: discord.Locale | str | None) -> BackfillTexts:
    """Return the texts of a language; English where there is no translation."""
    return GERMAN if str(locale) == discord.Locale.german.value else ENGLISH
