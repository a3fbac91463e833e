"""Whether a reply needs the memory at all: greetings, thanks and sums do not. Pure, no model, well under a millisecond.

Only what is *recognised* as needing none is turned away; whatever is not understood, every unknown language among it,
passes. Missing a question costs the answer, while a needless search costs 30 ms.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from cogs.memory.gate_words import AFTERWARDS, ASKS, FILLER, LANGUAGES, OURS, PAST, SOCIAL, VOCATIVE, WANTS

Reason = Literal[
    "asks", "names the past", "not recognised",
    "no words", "command", "arithmetic", "small talk", "about the bot", "general task", "statement",
]  # fmt: skip
"""Why the memory is asked (the first three) or not."""
REASONS: tuple[str, ...] = get_args(Reason)

READ = 1000
"""Characters that are looked at: what needs no memory shows it early, and a longer text passes."""
MAX_QUESTION = 600
"""Characters of a message that are looked for."""


@dataclass(frozen=True, slots=True)
class GateDecision:
    """Whether the memory is asked, and why."""

    needed: bool
    reason: Reason


_MARKUP = re.compile(r"<a?:\w{1,32}:\d{1,20}>|<(?:@[!&]?|#)\d{1,20}>|:\w{1,32}:|@(?=\w)|https?://\S+")
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_COMMAND = re.compile(r"\s*[!/$%][A-Za-z][\w-]{0,31}(?:\s[^?]*)?$")
_ASKED_SUM = re.compile(
    r"(?:what|how much|calculate|compute|solve|was|wie ?viel|rechne)(?:'s| is| are| ist| sind| ergibt)?\s"
)
_SUM = re.compile(r"[\s\d.,()+*/x×÷^%=-]+")
_OPERATOR = re.compile(r"\d\s*(?:[+*×÷^%]|\s[-/x]\s)\s*\(?\s*\d")  # 2025-03-01 and 10/12 are dates
_ANY_OPERATOR = re.compile(r"\d\s*[+*/x×÷^%-]\s*\(?\s*\d")
_NAME = re.compile(r"(?<=[a-zäöüß,] )[A-Z][a-z]+")
_SMALL_TALK = re.compile(
    r"how(?:'s| is| are| r) (?:it|you|u|things|everything|life|your day)(?: (?:going|doing|today|all|so far))*"
    r"|what(?:'s| is)? ?up|wass?up|(?:are )?you (?:ok|okay|there|alive|awake|online)"
    r"|nice to meet you|good (?:bot|boy|girl|job|one)|well done|i love you|ping|test(?:ing)?"
    r"|wie geht(?:'s|s| es)(?: (?:dir|euch|so|denn|heute))*|was geht(?: ab)?|bist du (?:da|wach|online)"
)
_ABOUT_THE_BOT = re.compile(
    r"(?:who|what) (?:are|r) (?:you|u)(?: exactly)?|what(?:'s| is) your name|what (?:can|do) you do(?: for me)?"
    r"|how (?:old are you|do you work)|are you (?:a |an |just a )?(?:bot|robot|human|real|ai|person|alive)"
    r"|who (?:made|created|built|wrote) you|help"
    r"|wer bist du|was (?:bist|kannst) du(?: alles)?|wie (?:heißt|alt bist|funktionierst) du"
    r"|bist du (?:ein |eine )?(?:bot|mensch|ki|echt)|wer hat dich (?:gemacht|gebaut|programmiert)|hilfe"
)
_POLITE = r"(?:(?:can|could|would|will) (?:you|u) |please |pls |kannst du |bitte |hey )*"
_COMPOSE = re.compile(
    rf"{_POLITE}(?:write|make|generate|create|compose|draw|give) (?:me |us )?(?:an? |some |the )?(?:\w+ ){{0,2}}"
    r"(?:poem|haiku|limerick|story|essay|song|rap|joke|riddle|pun|function|script|program|regex|class|code|query|"
    r"unit tests?|pickup line|fun fact|random number)\b"
)
_TASK = re.compile(
    rf"{_POLITE}(?:tell (?:me|us) (?:an? |another |some |the )?(?:\w+ )?(?:joke|jokes|riddle|story|fun fact|pun)\b"
    r"|translate\b.*\b(?:in)?to \w+"
    r"|(?:how do (?:you|i) say|what does) .{1,60} (?:in|mean in) "
    r"(?:english|german|french|spanish|italian|japanese|chinese|latin|dutch)"
    r"|convert \d+ .*\b(?:in)?to \w+|(?:roll|flip|toss) (?:an? |the |some )?(?:\d*d\d+|dice|die|coin)"
    r"|(?:schreib|mach|dichte|erzähl)e? (?:mir |uns )?(?:bitte )?(?:eine?n? )?(?:\w+ )?"
    r"(?:gedicht|haiku|geschichte|witz|lied|funktion|skript|programm|code)\b"
    r"|übersetze?\b.*\b(?:ins?|auf) \w+|wirf (?:eine )?(?:münze|würfel))"
)
_STATEMENT = re.compile(
    r"(?:(?:oh|well|yeah|yes|no|ok|okay|lol|haha|wow|so|and|but|hey|ja|nein|naja|ach|also) )*"
    r"(?:(?:i(?:'?(?:m|ve)|'ll|'d)?|(?:we|he|she|they|you|it|that|this|there)(?:'?(?:s|ve|ll|re)|'d)?) \w"
    r"|same here|me too|have (?:a|fun)|good luck|(?:ich|wir|er|sie|du|das|es) \w|viel (?:spaß|glück|erfolg))"
)


def decide(text: str) -> GateDecision:
    """Say whether answering ``text`` needs the memory.

    Args:
        text: what was said to the bot; mentions and emoji in it do not count.
    """
    head = _MARKUP.sub(" ", text[:READ]).replace("’", "'")
    words = _WORD.findall(head.lower())
    if not words:
        return GateDecision(False, "no words")
    needless = _needless(head, words) if len(text) <= READ else None
    if needless is not None:
        return GateDecision(False, needless)
    if not PAST.isdisjoint(words):
        return GateDecision(True, "names the past")
    return GateDecision(True, "asks" if _asks(head, words) else "not recognised")


def question_in(text: str) -> str:
    """Return what is to be looked for in a message to the bot: without mentions, emoji and links, and not too long.

    Of a long message that is what stands before its last question mark, else its beginning.
    """
    text = " ".join(_MARKUP.sub(" ", text[: 10 * READ]).split())
    if len(text) <= MAX_QUESTION:
        return text
    end = text.rfind("?") + 1
    return text[max(0, end - MAX_QUESTION) : end] if end else text[:MAX_QUESTION]


def _needless(head: str, words: list[str]) -> Reason | None:
    """By what a text is recognised that needs no memory."""
    core = _core(words)
    reason: Reason | None = None
    if _is_sum(head):
        reason = "arithmetic"
    elif _COMMAND.match(head):
        reason = "command"
    elif _is_small_talk(words, core, asks="?" in head):
        reason = "small talk"
    elif _ABOUT_THE_BOT.fullmatch(core):
        reason = "about the bot"
    elif PAST.isdisjoint(words):
        reason = _needless_now(head, words, core)
    return reason


def _needless_now(head: str, words: list[str], core: str) -> Reason | None:
    """The same, for what does not look back."""
    if _is_task(head, core):
        return "general task"
    is_statement = _STATEMENT.match(core) and WANTS.isdisjoint(words) and not _asks(head, words)
    return "statement" if is_statement else None


def _asks(head: str, words: list[str]) -> bool:
    return "?" in head or words[0] == "was" or not ASKS.isdisjoint(words)  # an English "was" stands further on


def _is_sum(head: str) -> bool:
    text = head.strip().lower().replace("–", "-").rstrip("?! ")
    asked = _ASKED_SUM.match(text)
    rest = text[asked.end() :] if asked else text
    operator = _ANY_OPERATOR if asked else _OPERATOR
    return bool(_SUM.fullmatch(rest)) and bool(operator.search(rest))


def _is_task(head: str, core: str) -> bool:
    """Whether something is to be made or done that has nothing to do with this server."""
    if _TASK.match(core):
        return True
    named = set(_NAME.findall(head)) - LANGUAGES
    words = core.split()
    return bool(_COMPOSE.match(core)) and not named and OURS.isdisjoint(words[3:]) and ASKS.isdisjoint(words)


def _is_small_talk(words: list[str], core: str, *, asks: bool) -> bool:
    """Whether there is nothing but courtesies; a longer question made of such words may still be one."""
    if _SMALL_TALK.fullmatch(core):
        return True
    courtesies = [word in SOCIAL for word in words]
    only = all(courteous or word in FILLER for courteous, word in zip(courtesies, words, strict=True))
    return only and any(courtesies) and not (asks and len(words) > 4)


def _core(words: list[str]) -> str:
    """What is left without courtesies before and after it."""
    start, end = 0, len(words)
    while start < end and (words[start] in SOCIAL or words[start] in VOCATIVE):
        start += 1
    while start < end and words[end - 1] in AFTERWARDS:
        end -= 1
    return " ".join(words[start:end])
