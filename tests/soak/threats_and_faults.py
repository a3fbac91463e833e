"""Each threat and each fault, what must come of it, the tests that hold it, and the long runs that measure it.

``python -m tests.soak.threats_and_faults`` prints the table of ``README.md``; a test compares the two.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Row(NamedTuple):
    """One of them."""

    name: str
    outcome: str
    """What must come of it."""
    tests: tuple[str, ...]
    """Files below ``tests/``, or tests in them."""
    measured: tuple[str, ...] = ()
    """Modules of this folder."""


THREATS: Final = (
    Row(
        "private text in an answer",
        "an asker finds only what he may read",
        (
            "surface/test_access.py",
            "surface/test_access_cases.py",
            "surface/discord_access/test_discord_access.py",
            "surface/cog/test_recall.py",
        ),
        ("permissions",),
    ),
    Row(
        "private text in a public reply",
        "what one reader may not read is not quoted",
        (
            "chat/test_audience.py::test_no_reply_in_10000_random_guilds_draws_on_what_one_of_its_readers_cannot_read",
            "chat/test_replies.py::test_nothing_of_a_hidden_channel_is_in_a_public_answer",
            "surface/cog/test_buttons.py::test_nothing_hidden_can_be_shared",
            "surface/cog/test_buttons.py::test_sharing_leaves_out_what_some_may_not_read",
        ),
        ("permissions",),
    ),
    Row(
        "a permission revoked during a question",
        "what may not be read any more is not sent, wherever the question was by then",
        (
            "surface/cog/test_revoked.py",
            "surface/discord_access/test_threads.py",
            "surface/cog/test_buttons.py::test_a_page_turned_shows_only_what_may_be_read_now",
            "chat/test_replies.py::test_a_source_hidden_at_the_last_moment_is_not_shown",
        ),
    ),
    Row(
        "the existence of hidden messages",
        "answers are the same with and without them",
        ("test_hidden_data.py",),
    ),
    Row(
        "another server's text",
        "the same words in two servers never cross",
        ("stores/test_contract_search.py", "stores/test_contract_reads.py"),
        ("permissions",),
    ),
    Row(
        "orders to a language model in recalled text",
        "100 payloads: data stays data, nothing pings or unfurls, no fence is closed",
        ("test_context_builder.py", "chat/test_prompt.py", "chat/test_splitting.py"),
    ),
    Row(
        "control tokens in messages",
        "none reaches a reranker, and the message gains nothing by them",
        ("rerankers/test_qwen3_prompt.py", "rerankers/test_content_tokens.py"),
    ),
    Row(
        "a flood of near-copies",
        "50 copies take at most one place of five",
        ("test_same_words.py",),
    ),
    Row(
        "what was to be forgotten",
        "0 bytes of it, plain or encrypted, and no backup or history brings it back",
        (
            "test_erasure.py",
            "surface/history/test_erasure_reaches_everything.py",
            "surface/cog/test_forget_me.py",
            "stores/test_backup.py",
            "stores/test_encryption.py",
        ),
        ("forgetting",),
    ),
    Row(
        "tokens and messages in logs",
        "0 lines with either, also at DEBUG",
        ("surface/operation/test_log_redaction.py", "surface/cog/test_log_canary.py"),
        ("logs",),
    ),
    Row(
        "hostile model names, pickles, foreign code, weights that are not what they say",
        "refused in a sentence, before a socket is opened or a file outside the models folder is touched",
        (
            "model_source/test_finding.py",
            "model_source/test_fetching.py",
            "test_model_sources.py",
            "rerankers/test_qwen3_loading.py",
        ),
    ),
    Row(
        "@everyone, masked links, fences, colours and writing directions in recalled text",
        "shown as written; 4,000 hostile characters within 5 ms",
        ("surface/test_markup.py", "surface/test_presenter.py"),
        ("hostile_text",),
    ),
    Row(
        "/recall spam",
        "one question at a time, some in a minute; the others are answered as before",
        ("surface/cog/test_failures.py",),
        ("spammer",),
    ),
    Row(
        "full-text query syntax in questions",
        "20,000 strings: 0 errors",
        ("stores/test_contract_search.py", "test_query_terms.py"),
        ("hostile_text",),
    ),
    Row(
        "commands of people who may not give them",
        "each command refuses each role that may not",
        ("surface/commands/test_admin.py", "surface/commands/test_admin_owner.py", "chat/test_commands.py"),
    ),
    Row(
        "a stolen disk",
        "an encrypted memory is legible nowhere, and a key that does not fit is one sentence",
        ("stores/test_encryption.py", "test_upkeep.py", "test_key_strength.py"),
        ("forgetting",),
    ),
)

FAULTS: Final = (
    Row(
        "kill -9 during ingest",
        "0 acknowledged lost, 0 orphans, ready within 2 s at 10,000 messages",
        (
            "stores/test_sqlite_faults.py::test_what_was_acknowledged_survives_kill_9",
            "surface/history/test_backfill_kill.py",
        ),
        ("kill",),
    ),
    Row(
        "kill -9 during a move to servers and back",
        "it goes on where it was, and both ends are the same",
        ("stores/test_moving.py",),
        ("migration",),
    ),
    Row(
        "one call fails: of the database, the index, a file, a model",
        "the store is sound when it is opened again; a running memory goes on and loses nothing",
        ("faults/test_nth_call.py", "faults/test_reopening.py"),
        ("nth_call",),
    ),
    Row(
        "a full disk",
        "questions are answered and say so; all is stored once there is room",
        ("stores/test_sqlite_faults.py", "faults/test_short_soak.py"),
        ("disk_full",),
    ),
    Row(
        "a database that is truncated, garbage, locked, read-only or newer",
        "one sentence, the damaged file is kept aside, the bot stays up",
        ("faults/test_damaged_database.py", "stores/test_sqlite_folder.py", "surface/test_wiring.py"),
    ),
    Row(
        "a raid",
        "0 lost, the loop late by p99 ≤ 100 ms, /recall p95 ≤ 2 s, RAM bounded",
        ("surface/cog/test_raid.py", "surface/cog/test_under_load.py", "test_worker.py"),
        ("load",),
    ),
    Row(
        "edits, deletions and repetitions in any order",
        "the last state wins: 0 ghosts, 0 stale",
        ("stores/test_state_machine.py", "surface/test_event_line.py", "test_ingest_queue.py"),
        ("interleavings",),
    ),
    Row(
        "an offline gap",
        "what was said is read afterwards, what was deleted is not shown",
        ("surface/history/test_backfill_gaps.py", "surface/history/test_backfill.py"),
    ),
    Row(
        "vectors and scores that are no numbers",
        "0 stored; the order of the stage before stands",
        ("faults/test_not_finite.py", "test_model_reranking_failures.py", "stores/test_contract_writes.py"),
    ),
    Row(
        "a model that is missing, truncated, out of memory or hanging",
        "each question is answered, and says how",
        ("test_every_model_state.py", "test_model_reranking_memory.py"),
        ("models",),
    ),
    Row(
        "a reload while questions run",
        "0 errors, 0 answers with scores of both models",
        ("test_every_model_state.py", "test_model_reranking_lifecycle.py"),
        ("models",),
    ),
    Row(
        "SIGTERM at any moment",
        "exit code 0 within 5 s, 0 lost",
        ("surface/cog/test_stop.py",),
        ("sigterm",),
    ),
    Row(
        "interactions that are over, messages that are gone",
        "counted, and nothing more",
        ("surface/cog/test_failures.py",),
    ),
    Row(
        "text with NULs, surrogates, towers of marks, or none at all",
        "cleaned at the edge, its neighbours unharmed",
        ("test_cleaning.py", "faults/test_short_soak.py"),
        ("hostile_text",),
    ),
    Row(
        "ids that are none, clocks that jump",
        "refused, and nothing lasts longer than agreed",
        (
            "stores/test_contract_writes.py",
            "test_importers.py",
            "surface/history/test_backfill_progress.py::test_a_clock_that_jumps_parks_nothing_for_longer_than_agreed",
        ),
        ("interleavings",),
    ),
)


def table() -> str:
    """Return all rows as Markdown."""
    parts = []
    for title, rows in (("Threats", THREATS), ("Faults", FAULTS)):
        parts += [f"## {title}", "", "| what | what must come of it | tests | long run |", "|---|---|---|---|"]
        for row in rows:
            tests = ", ".join(dict.fromkeys(_link(path) for path in row.tests))
            runs = ", ".join(f"[`{name}`]({name}.py)" for name in row.measured) or "–"
            parts.append(f"| {row.name} | {row.outcome} | {tests} | {runs} |")
        parts.append("")
    return "\n".join(parts)


def _link(path: str) -> str:
    file = path.partition("::")[0]
    return f"[{file.rpartition('/')[2].removesuffix('.py')}](../{file})"


if __name__ == "__main__":
    print(table(), end="")
