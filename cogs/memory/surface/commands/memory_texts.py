"""The texts of the `/memory` commands in English; `memory_texts_german` holds the other language.

As in `texts`: one field for each sentence, and what Discord's own menus show is `locale_str` in the code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import discord

if TYPE_CHECKING:
    from cogs.memory.surface.rights import Interaction


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryTexts:
    """The sentences of one language; what stands in braces is filled in with `str.format`."""

    # how many
    messages_one: str = "1 message"
    messages_many: str = "{count} messages"
    days_one: str = "1 day"
    days_many: str = "{count} days"

    # who may
    only_admins: str = "Only those who may manage this server can do that."
    only_owner: str = "Only the owner of this bot can do that."
    only_servers: str = "This works on servers only."

    # asking before
    cancel: str = "Cancel"
    working: str = "One moment …"
    cancelled: str = "Nothing was changed."
    expired: str = "You did not answer in time, so nothing was changed."

    # /memory privacy
    privacy_title: str = "Your privacy"
    privacy_yours: str = "Stored about you here"
    privacy_nothing: str = "Nothing."
    privacy_count: str = "**{messages}**, written from {first} to {last}"
    privacy_channels: str = "In {channels}"
    privacy_more_channels: str = "{channels} and {count} more"
    privacy_names: str = "Under the names {names}"
    privacy_opted_out: str = "You have opted out: nothing new of yours is stored."
    privacy_what: str = "What is stored"
    privacy_what_text: str = (
        "The text of messages, the names of attached files and the text of link previews, who wrote them, where and "
        "when, and numbers computed from them that make them searchable. No pictures, no reactions, no presence."
    )
    privacy_where: str = "Where"
    privacy_where_local: str = (
        "Only on the computer that runs this bot. The models run there too; no text goes to anybody else."
    )
    privacy_where_here: str = "On the computer that runs this bot."
    privacy_where_remote: str = (
        "To put results in order, questions and messages found are also sent to {host}, a server that the bot's owner "
        "has chosen."
    )
    privacy_where_companion: str = (
        "To answer those who talk to the bot, what they write, the messages around it and messages found are also "
        "sent to {recipient}, as the admins of this server have chosen."
    )
    privacy_who: str = "Who can find it"
    privacy_who_text: str = (
        "Only people who can read the channel it stands in, at the moment they ask. It is not used to train models or "
        "to build profiles of anybody."
    )
    privacy_long: str = "For how long"
    privacy_long_text: str = "Until it is edited or deleted on Discord or erased here; the memory follows."
    privacy_long_days: str = "{days} at most; earlier if it is edited or deleted on Discord or erased here."
    privacy_delete: str = "What you can do"
    privacy_delete_text: str = (
        "`/memory export` gives you all of it as a file.\n"
        "`/memory forget me` erases all of it for good.\n"
        "`/memory opt-out` keeps new messages of yours out; `/memory opt-in` lets them in again."
    )

    # /memory forget
    forget_me_title: str = "Everything of yours that is stored here will be erased for good: {messages}."
    forget_me_nothing: str = (
        "Nothing of yours is stored here. You can still make sure that none of your older messages will ever be read "
        "in."
    )
    forget_me_later: str = "Messages that you write later are stored again, unless you opt out."
    forget_button: str = "Erase"
    forget_and_opt_out_button: str = "Erase and opt out"
    forget_user: str = "Everything of {user} that is stored here will be erased for good: {messages}."
    forget_channel: str = (
        "Everything from {channel} and its threads will be erased for good. Messages written there later are stored "
        "again, unless you use `/memory channels deny` first."
    )
    forget_server: str = (
        "**Everything** that is stored of this server will be erased for good: {messages} (channels: "
        "{channels}). Messages written later are stored again."
    )
    receipt: str = "Erased: {messages}, search data included.{traces} It took {seconds} s."
    receipt_traces: str = " Other traces, such as judgements of results: {traces}."
    receipt_me: str = "Older messages of yours will not be read in again."
    receipt_opted_out: str = "You have opted out: nothing new of yours will be stored."

    # /memory opt-out, opt-in, export
    opted_out: str = "From now on nothing that you write here is stored."
    opted_out_stored: str = "Still stored from before: {messages}. Shall that be erased as well?"
    opted_in: str = "From now on what you write here is stored, so that people who can read it there can find it again."
    export_nothing: str = "Nothing of yours is stored here, so there is nothing to export."
    export_done: str = "All that is stored of you here: {messages}."

    # /memory status
    status_title: str = "The memory of this server"
    status_messages: str = "Messages"
    status_messages_text: str = "{messages} · authors: {authors} · channels: {channels}"
    status_reach: str = "From"
    status_reach_text: str = "{oldest} to {newest}"
    status_history: str = "History from before"
    status_search: str = "Search index"
    status_search_text: str = "with vectors: {embedded} of {messages} · of these in the index: {ready}"
    status_queue: str = "Waiting"
    status_queue_text: str = "events to be stored: {waiting} · messages indexed per second: {rate}"
    status_problem: str = "Problem"
    status_settings: str = "Settings"
    status_retention: str = "Kept for {days}"
    status_retention_none: str = "Kept until deleted"
    status_on_join: str = "The history is read when the bot joins"
    status_not_on_join: str = "The history is read on command only"
    status_instruction: str = "The reranker has an instruction of this server's own"
    status_opted_out: str = "Opted out: {count}"
    status_judgements: str = "Judgements of results: {count} · questions judged: {questions}"

    status_reranker: str = "Order of results"
    reranker_name: str = "decided by {name}"
    reranker_state: str = "the model is not in full service ({state}): {reason}"
    reranker_changed: str = "another first result than plain search in {share} of {count} questions"
    reranker_changed_moved: str = (
        "the model changed the first result in {share} of the last {count} questions and moved results by {move} places"
    )
    reranker_scores: str = "P(yes) from {min} to {max}, {mean} on average · {ms} ms a message"
    reranker_counts: str = "model calls: {calls} · out of time: {timeouts} · turned away: {busy} · failures: {failures}"
    reranker_side_a: str = "A/B test, without the reranker: {questions} questions, 👍 {good} 👎 {bad}"
    reranker_side_b: str = "A/B test, with the reranker: {questions} questions, 👍 {good} 👎 {bad}"

    # /memory channels
    channels_all: str = "All channels are remembered"
    channels_allowed: str = "Only remembered: {channels}"
    channels_denied: str = "Never remembered: {channels}"
    channels_now_allowed: str = "{channel} and its threads are remembered from now on."
    channels_only_now: str = "From now on **only** {channels} are remembered; `/memory channels clear` lifts that."
    channels_now_denied: str = (
        "Nothing new from {channel} and its threads is stored. `/memory forget channel` erases what is stored already."
    )
    channels_cleared: str = "All channels are remembered again."
    channels_too_many: str = "and {count} more"

    # /memory retention, reset-settings
    retention_is: str = "Messages are kept for {days}, then deleted from the memory."
    retention_none: str = "Messages are kept until they are deleted on Discord or erased here."
    retention_ask: str = (
        "Messages older than {days} will be deleted from the memory, now and then every hour. "
        "At the moment: {messages}."
    )
    retention_many: str = "more than {count}"
    retention_button: str = "Delete older ones"
    retention_done: str = "Deleted from the memory: {messages}. From now on messages are kept for {days}."
    reset_ask: str = (
        "The settings of this server (channels, retention, instruction) will be as if nobody had ever set them. "
        "Who has opted out stays so."
    )
    reset_button: str = "Reset"
    reset_done: str = "The settings are reset."
    reset_opt_outs_lost: str = (
        "The list of people who opted out was damaged and had to go too: please tell them to use `/memory opt-out` "
        "again."
    )

    # /memory instruction
    instruction_is: str = "The reranker's instruction on this server:\n> {instruction}"
    instruction_none: str = "This server has no instruction of its own; the reranker uses its usual one."
    instruction_unread: str = (
        "The reranker in use, {reranker}, reads no instructions: this changes nothing until the bot's owner uses one "
        "that does."
    )
    instruction_ask: str = "The reranker shall read this instruction on this server:\n> {instruction}"
    instruction_button: str = "Use it"
    instruction_set: str = "The instruction is in use."
    instruction_cleared: str = "The instruction is gone; the reranker uses its usual one."
    instruction_before: str = "Without it"
    instruction_after: str = "With it"
    instruction_nothing: str = "Nothing is found for that question."
    instruction_same: str = "For that question both orders are the same."

    # /memory explain
    explain_title: str = "How the answer came about"
    explain_nothing: str = "Nothing is found for that."
    explain_columns: str = "kw: keywords · vec: vectors · fused: both, without reranking · late: late interaction"
    explain_final: str = "#: the order that is shown ({reranker})"
    explain_model: str = "P(yes): what the reranker's model gave"
    explain_stages: str = "Stages"
    explain_without: str = "Without reranking"
    explain_without_same: str = "The same result would stand first."
    explain_without_other: str = "This would stand first: {line}"
    explain_without_rank: str = "The first result would stand at {rank}."
    explain_stage: str = "{name}: {count} in {milliseconds} ms"

    # /memory evaluate
    evaluate_title: str = "How well this server's questions are answered"
    evaluate_asked: str = "Judged questions asked: {questions}"
    evaluate_hidden: str = "Left out, because what was found good stands where you cannot read: {count}"
    evaluate_newest: str = "Only the newest {count} were asked."
    evaluate_reranked: str = "reranked"
    evaluate_plain: str = "not reranked"
    evaluate_bad_first: str = "bad first"
    evaluate_legend: str = (
        "hit@1: a good message stands first · MRR@10: one over its place · nDCG@10 and R@10: how many of the good ones "
        "are among the first ten · bad first: a message that was found bad stands first"
    )
    evaluate_nothing: str = (
        "No question has a result with more 👍 than 👎 yet. Judge results of `/recall` with the buttons under them "
        "first."
    )
    evaluate_progress: str = "{count} of {total} questions asked …"

    # /memory stats
    stats_title: str = "Statistics of the memory"
    stats_store: str = "Store"
    stats_store_text: str = (
        "{messages} · without a vector: {awaiting} · servers: {guilds} · tombstones: {tombstones} · "
        "{megabytes} MB on disk"
    )
    stats_recall: str = "Recall"
    stats_recall_text: str = "p50 {p50} ms · p95 {p95} ms · p99 {p99} ms, over the last {count}"
    stats_recall_none: str = "Nothing was asked yet."
    stats_ingest: str = "Ingest"
    stats_ingest_text: str = "messages per second: {rate} · events waiting: {waiting} · no usable vector: {not_finite}"
    stats_lag: str = "Event loop"
    stats_lag_text: str = "late by p50 {p50} ms · p99 {p99} ms, over the last half minute"
    stats_reranker: str = "Reranker"
    stats_cache: str = "Caches"
    stats_plot: str = "The last day, minute by minute"
    stats_no_plot: str = "The plot appears when the bot has run for two minutes."

    def count_messages(self, count: int) -> str:
        """Return so many messages in words."""
        return self.messages_one if count == 1 else self.messages_many.format(count=f"{count:,}")

    def count_days(self, count: int) -> str:
        """Return so many days in words."""
        return self.days_one if count == 1 else self.days_many.format(count=f"{count:,}")


ENGLISH = MemoryTexts()


def memory_texts_for(locale: discord.Locale | str | None) -> MemoryTexts:
    """Return the texts of a language; English where there is no translation."""
    from .memory_texts_german import GERMAN

    return GERMAN if str(locale) == discord.Locale.german.value else ENGLISH


def memory_texts(interaction: Interaction) -> MemoryTexts:
    """Return the texts of a user's own language."""
    return memory_texts_for(interaction.locale)
