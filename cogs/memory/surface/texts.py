"""Every text that the surface shows, in one place; `texts_german` holds the other language.

`Texts` has one field for each sentence, with the English one as its default; a translation is an instance with all of
them. Texts for Discord's own menus (commands, options, choices) are `locale_str` in the code, in English;
`translator.MemoryTranslator` looks their translations up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    import discord


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """The sentences of one language; what stands in braces is filled in with `str.format`."""

    # what was asked
    from_author: str = "from {author}"
    in_channel: str = "in {channel}"
    after: str = "since {when}"
    before: str = "before {when}"
    has_link: str = "with a link"
    has_file: str = "with a file"
    has_image: str = "with a picture"
    has_code: str = "with code"
    related_to: str = "Related to {link}"
    this_message: str = "this message"

    # what was found
    nothing_relevant: str = "Nothing relevant was found in what you may read here."
    nothing_further: str = "There is nothing further."
    no_channels: str = "There is nothing here that you may read the history of."
    jump: str = "Jump to message"
    page: str = "page {number}"
    same_words: str = "the same words {count} more times"
    same_words_once: str = "the same words once more"
    attached: str = "attached: {names}"
    score: str = "{percent} % match"
    edited: str = "edited"
    conversation: str = "The conversation around it"
    gone: str = "That message is not in the memory any more, or you may not read it."

    # how it was found
    candidates: str = "{count} candidates"
    milliseconds: str = "{count} ms"
    from_cache: str = "asked before"
    reranked_of: str = "{model}: {count} of {total} reranked"
    late_interaction: str = "late interaction"
    structure: str = "late interaction + structure"
    not_reranked: str = "not reranked"
    reaches_back: str = "memory reaches back to {date}"
    unverified: str = "some results could not be checked with Discord and are left out"
    still_indexing: str = "new messages are still being indexed"

    # buttons
    back: str = "Back"
    further: str = "Next"
    share: str = "Share here"
    show_anyway: str = "Show the closest anyway"
    around: str = "Around {rank}"
    good: str = "Answers it"
    bad: str = "Does not"
    judge: str = "👍 👎 Rate a result"
    judged: str = "Thank you. This server has {count} judgements now; its admins can measure recall with them."

    # sharing
    shared_by: str = "{user} shares from the memory"
    shared: str = "Shared."
    shared_some: str = "Shared {count} of {total}: not everybody who reads this channel can read where the others were."
    not_shareable: str = "Not shared: not everybody who reads this channel can read where that was said."
    may_not_write: str = "You may not write in this channel, so nothing was shared."

    # refusals
    guild_only: str = "This works on servers only."
    one_at_a_time: str = "Your last question is still being answered; one at a time."
    too_many: str = "Many people are asking right now. Try again in a few seconds."
    slow_down: str = "That was quick. Ask again in {seconds} s."
    no_text: str = "That message has no text to look for."
    not_allowed: str = "You may not use this here."
    ask_again: str = "That was too long ago to go on from here; please ask again with /recall."
    starting: str = "The memory is still starting; try again in a moment."
    out_of_order: str = "The memory is out of order, and is tried again by itself. {reason}"
    unknown_command: str = "This command has changed; wait a minute and try again."
    went_wrong: str = "Something went wrong here; the error id is {error_id}."


ENGLISH = Texts()


def texts_for(locale: object) -> Texts:
    """Return the texts of a user's or server's language (e.g. "de"); English where there is no translation."""
    from cogs.memory.surface.texts_german import GERMAN

    return GERMAN if str(locale) == "de" else ENGLISH


def texts_of(interaction: discord.Interaction[Any]) -> Texts:
    """Return the texts of the user's own language."""
    return texts_for(interaction.locale)
