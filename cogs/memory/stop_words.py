"""Words too common to search for, by language; a question is read in the language whose words it uses most."""

from __future__ import annotations

_ENGLISH = """
a about after again ain all also am an and any are aren as at be because been before being both but by can could
couldn d did didn do does doesn doing don done during each few for from further had hadn has hasn have haven having he
her here hers him his how i if in into is isn it its itself just ll m many me mention mentioned more most much my no
nor not of off on once only or our ours out over own re s said same say says shan she should shouldn so some such t
tell than that the their theirs them then there these they this those through to told too under until up ve very was
wasn we were weren what when where which while who whom whose why will with won would wouldn you your yours
"""
_GERMAN = """
aber als am an auch auf aus bei bin bis bist da dann das dass dein dem den der des die dir doch du ein eine einem
einen einer er es euch für gab gibt ging hab habe haben hat hatte ich ihm ihn ihr im in ist ja kann kein keine man
mein mich mir mit nach nicht noch nur ob oder schon sein seine sich sie sind so über um und uns unser von vom vor war
waren warum was welche welchen welcher welches wenn wer wem wen werden wie wieder wir wird wo wollte wurde zu zum zur
"""
_SPANISH = """
a al algo alguien como con cual cuando cuanto de del desde donde dónde el él ella ellos en era es esa ese eso esta
está este esto fue ha había han hasta hay la las le les lo los más me mi muy nada ni no nos o para pero por porque que
qué quien quién se ser si sin sobre son su sus también te tiene tu tú un una uno unos y ya yo cómo cuál cuándo cuánto
"""
_FRENCH = """
ai au aux avec ce ces cette c d dans de des du elle en est et eu il ils j je l la le les leur lui ma mais me mes moi
mon n ne nos nous on ont ou où par pas pour qu quand que quel quelle qui sa se ses si son sont sur ta te tes toi ton tu
un une vos vous y comment pourquoi combien
"""

STOP_WORDS: dict[str, frozenset[str]] = {
    "en": frozenset(_ENGLISH.split()),
    "de": frozenset(_GERMAN.split()),
    "es": frozenset(_SPANISH.split()),
    "fr": frozenset(_FRENCH.split()),
}


def stop_words_for(words: list[str]) -> frozenset[str]:
    """Return the stop-words of the language most of ``words`` belong to; English when in doubt."""
    best = max(STOP_WORDS, key=lambda language: sum(word in STOP_WORDS[language] for word in words))
    return STOP_WORDS[best]
