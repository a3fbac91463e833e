"""The words by which the gate knows small talk from questions; English and German."""

from __future__ import annotations


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


SOCIAL = _set("""
hi hii hiya hello hey heya yo sup howdy greetings morning afternoon evening night gm gn bye goodbye cya later ciao
cheers thanks thank thx ty tysm tyvm np welcome please sorry congrats congratulations wow nice cool great awesome
amazing perfect lovely good bad ok okay okey okie k kk yes yeah yep yup no nope nah sure right true exactly indeed
agreed same lol lmao rofl haha hahaha hahahaha hehe heh xd omg wtf oof rip gg wp ez pog based brb afk ah aha oh ooh hm
hmm huh um uh well alright fine cute sweet excellent fantastic brilliant wonderful
hallo moin moinsen servus grüezi tag guten gute guter morgen abend nacht tschüss tschau bis bald danke dankeschön
merci bitte bitteschön gern gerne super prima klasse toll geil krass genau stimmt ja jo jep nein nö nee klar alles gut
achso hola gracias bonjour salut bonsoir
""")
"""Courtesies, reactions and interjections."""

FILLER = _set("""
a an and all again am as bot buddy dear everybody everyone folks friend friends guys mate my of man dude pal so much
many very really too you u ya your for that this is it its it's i i'm the to there then lot lots ton help answer idea
see soon have day one weekend time love do did job work well got
dir euch dich und sehr so viel vielen vielmals schön schönen schöne noch einen ein eine den das die der war ist leute
alle allen zusammen mal auch da doch mir für deine hilfe
""")
"""Words that leave a courtesy what it is."""

VOCATIVE = _set("there bot buddy friend guys mate everyone all again")
AFTERWARDS = _set("please pls plz bot thanks thx ty now buddy mate bitte danke denn eigentlich")
"""Words that may stand before and after what is meant."""

ASKS = _set("""
who whom whose what what's when where which why how who's where's when's how's whats wheres whens
wer wen wem wessen wann wo woher wohin welche welcher welches welchen welchem warum wieso weshalb wie wieviel
quién qué cuándo dónde cuál cómo qui quoi quand où quel quelle pourquoi comment
""")

PAST = _set("""
remember remembered remembers remind recall forgot forget forgotten mentioned mention said told talked discussed decided
agreed promised recommended suggested announced summarize summarise summary recap
erinnere erinnern erinnert vergessen gesagt erwähnt erzählt besprochen entschieden beschlossen vereinbart versprochen
empfohlen vorgeschlagen zusammenfassung
""")
"""Words about what was said."""

WANTS = _set("""
find found search look looking lost link need want wants wonder wondering know show tell give
suche such finde gefunden brauche will weiß wissen zeig sag gib
""")
"""Words that turn a statement into a wish to know."""

OURS = _set("""
we we've our ours us server channel group club my mine last yesterday ago earlier
wir unser unsere unserem unseren kanal gruppe mein meine meinem meinen gestern neulich
""")
"""Words that tie a task to this server."""

LANGUAGES = _set("""
English German French Spanish Italian Japanese Chinese Korean Dutch Latin Portuguese Russian Polish Turkish
Deutsch Englisch Französisch Spanisch Python Java Rust Haskell Discord
""")
"""Capitalised words that are nobody's name."""
