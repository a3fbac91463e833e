"""What the chat says, in English; `texts_german` holds the other language.

As in the memory's tables: one field for each sentence, and what Discord's own menus show is `locale_str` in the code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cogs.chat.reply_flow import Instead
from cogs.chat.request import FLAG

if TYPE_CHECKING:
    from typing import Any

    import discord


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatTexts:
    """The sentences of one language; what stands in braces is filled in with `str.format`."""

    # under a reply
    source: str = "{author} in {channel}, {date}"
    jump: str = "jump"

    # instead of a reply
    help: str = (
        "Ask me what was said on this server: I answer with what everybody who reads this channel may see, and say "
        "where it stands. Write `{flag}` in your message to have me answer without the memory. `/recall` finds more, "
        "for your eyes only."
    )
    help_direct: str = "Here I have no memory: what was said on a server, I tell only there. Ask me on the server."
    withdrawn: str = (
        "This answer quoted something that has been deleted, changed or hidden since, so I have taken it back."
    )
    not_shareable: str = "What I found for that I may not show here any more."
    nothing_asked: str = (
        "I tell what was said on this server: ask me something about it. `{flag}` leaves the memory out."
    )
    out_of_time: str = "I could not look through the memory in time; please ask again."
    went_wrong: str = "Something went wrong here; the error id is {error_id}."

    # why the memory is not in it
    memory_off: str = "The memory is switched off for replies on this server."
    memory_opted_out: str = "You have opted out of the memory, so I answer without it. `/memory opt-in` undoes that."
    memory_unwanted: str = "As you wish, I leave the memory out. Without it I have nothing to say to that."
    memory_direct: str = "In direct messages I have no memory: what was said on a server, I tell only there."
    memory_closed: str = (
        "I can draw on nothing here: not everybody who reads this channel can read what was said before. `/recall` "
        "shows you what you may read."
    )

    # what went otherwise than wished
    budget_spent: str = "Today's replies of {provider} are used up; this is what I found myself."
    provider_gone: str = "{provider}, which this server has chosen, is not there any more; this is what I found myself."

    # /chat
    channel_always: str = "In {channel} and its threads I answer every message from now on."
    channel_mention: str = "In {channel} and its threads I answer when I am mentioned or replied to."
    channel_never: str = "In {channel} and its threads I do not answer any more."
    provider_is: str = "Replies are written by **{provider}**. There are: {names}."
    provider_set: str = "From now on **{provider}** writes the replies."
    provider_unknown: str = "There is no provider of that name here. There are: {names}."
    provider_ask: str = (
        "**{provider}** is not on the computer that runs this bot. Whenever somebody here talks to the bot, what they "
        "write, the messages around it and what the memory finds for it (only what everybody in that channel may "
        "read) will be sent there. `/memory privacy` will say so to everybody."
    )
    provider_button: str = "Use it"
    persona_is: str = "The bot speaks as:\n> {persona}"
    persona_none: str = "The bot has no persona of this server's own."
    persona_set: str = "From now on the bot speaks as:\n> {persona}"
    persona_cleared: str = "The bot speaks in its own way again."
    persona_unread: str = (
        "The provider in use, {provider}, only quotes: a persona changes nothing until another is chosen."
    )
    memory_is_on: str = "Replies may draw on the memory."
    memory_is_off: str = "Replies do not draw on the memory. `/recall` works as before."
    budget_is: str = "A reply is given up to {tokens} tokens of quotes."
    budget_replies: str = (
        "{provider} writes up to {count} replies a day; after that I answer with quotes alone. Today: {used}."
    )
    budget_no_limit: str = "The number of replies a day has no limit. Today: {used}."
    status_title: str = "Replies on this server"
    status_provider: str = "Written by"
    status_provider_remote: str = "{provider}, which is not on this computer"
    status_memory: str = "Memory"
    status_budget: str = "Budget"
    status_channels: str = "Channels"
    status_always: str = "Always: {channels}"
    status_never: str = "Never: {channels}"
    status_mention: str = "Elsewhere when mentioned or replied to"
    status_persona: str = "Persona"
    status_times: str = "Since the start"
    status_times_text: str = "replies: {replies} · median {median} ms · tokens read: {read} · written: {written}"
    status_nothing_yet: str = "No replies yet"
    reset_ask: str = "All `/chat` settings of this server will be as if nobody had ever set them."
    reset_button: str = "Reset"
    reset_done: str = "The chat settings are reset."

    def instead(self, why_no_memory: str | None) -> Instead:
        """Return what is said in place of quotes.

        Args:
            why_no_memory: why the memory is not asked; None if it is.
        """
        return Instead(
            without_memory=why_no_memory or self.help.format(flag=FLAG),
            nothing_asked=self.nothing_asked.format(flag=FLAG),
            out_of_time=self.out_of_time,
            not_shareable=self.not_shareable,
        )


ENGLISH = ChatTexts()


def chat_texts_for(locale: object) -> ChatTexts:
    """Return the texts of a user's or server's language (e.g. "de"); English where there is no translation."""
    from cogs.chat.texts_german import GERMAN

    return GERMAN if str(locale) == "de" else ENGLISH


def chat_texts(interaction: discord.Interaction[Any]) -> ChatTexts:
    """Return the texts of a user's own language."""
    return chat_texts_for(interaction.locale)
