"""Die Texte der `/memory`-Befehle auf Deutsch."""

from __future__ import annotations

from typing import Final

from .memory_texts import MemoryTexts

GERMAN: Final = MemoryTexts(
    messages_one="1 Nachricht",
    messages_many="{count} Nachrichten",
    days_one="1 Tag",
    days_many="{count} Tage",
    only_admins="Das dürfen nur Leute, die diesen Server verwalten.",
    only_owner="Das darf nur, wem dieser Bot gehört.",
    only_servers="Das geht nur auf einem Server.",
    cancel="Abbrechen",
    working="Einen Moment …",
    cancelled="Es bleibt alles, wie es ist.",
    expired="Es kam keine Antwort; es bleibt alles, wie es ist.",
    privacy_title="Deine Daten",
    privacy_yours="Hier über dich gespeichert",
    privacy_nothing="Nichts.",
    privacy_count="**{messages}**, geschrieben vom {first} bis zum {last}",
    privacy_channels="In {channels}",
    privacy_more_channels="{channels} und {count} weiteren",
    privacy_names="Unter den Namen {names}",
    privacy_opted_out="Du machst nicht mit: Von dir wird nichts Neues gespeichert.",
    privacy_what="Was gespeichert wird",
    privacy_what_text=(
        "Der Text von Nachrichten, die Namen angehängter Dateien und der Text von Linkvorschauen, wer sie wo und wann "
        "geschrieben hat, und daraus berechnete Zahlen, die sie auffindbar machen. Keine Bilder, keine Reaktionen, "
        "kein Online-Status."
    ),
    privacy_where="Wo",
    privacy_where_local=(
        "Nur auf dem Rechner, auf dem dieser Bot läuft. Auch die Modelle laufen dort; kein Text geht an andere."
    ),
    privacy_where_here="Auf dem Rechner, auf dem dieser Bot läuft.",
    privacy_where_remote=(
        "Zum Ordnen der Ergebnisse gehen Fragen und gefundene Nachrichten auch an {host}, einen Server, den der "
        "Betreiber des Bots gewählt hat."
    ),
    privacy_where_companion=(
        "Um denen zu antworten, die mit dem Bot reden, gehen das, was sie schreiben, die Nachrichten darum herum und "
        "gefundene Nachrichten auch an {recipient}; das haben die Admins dieses Servers so gewählt."
    ),
    privacy_who="Wer es finden kann",
    privacy_who_text=(
        "Nur, wer in dem Augenblick, in dem er fragt, den Kanal lesen darf, in dem es steht. Damit werden keine "
        "Modelle trainiert und keine Profile von Personen angelegt."
    ),
    privacy_long="Wie lange",
    privacy_long_text=(
        "Bis es auf Discord geändert oder gelöscht oder hier getilgt wird; das Gedächtnis zieht jeweils nach."
    ),
    privacy_long_days=("Höchstens {days}; kürzer, wenn es auf Discord geändert oder gelöscht oder hier getilgt wird."),
    privacy_delete="Was du tun kannst",
    privacy_delete_text=(
        "`/memory export` gibt dir alles davon als Datei.\n"
        "`/memory forget me` tilgt alles davon endgültig.\n"
        "`/memory opt-out` hält deine neuen Nachrichten heraus; `/memory opt-in` lässt sie wieder hinein."
    ),
    forget_me_title="Alles, was hier von dir gespeichert ist, wird endgültig getilgt: {messages}.",
    forget_me_nothing=(
        "Von dir ist hier nichts gespeichert. Du kannst trotzdem dafür sorgen, dass auch keine deiner älteren "
        "Nachrichten je eingelesen wird."
    ),
    forget_me_later="Was du später schreibst, wird wieder gespeichert, außer du machst nicht mehr mit.",
    forget_button="Tilgen",
    forget_and_opt_out_button="Tilgen und nicht mehr mitmachen",
    forget_user="Alles, was hier von {user} gespeichert ist, wird endgültig getilgt: {messages}.",
    forget_channel=(
        "Alles aus {channel} und seinen Threads wird endgültig getilgt. Was dort später geschrieben wird, wird wieder "
        "gespeichert, außer du nimmst vorher `/memory channels deny`."
    ),
    forget_server=(
        "**Alles**, was von diesem Server gespeichert ist, wird endgültig getilgt: {messages} (Kanäle: "
        "{channels}). Was später geschrieben wird, wird wieder gespeichert."
    ),
    receipt="Getilgt: {messages} samt Suchdaten.{traces} Das hat {seconds} s gedauert.",
    receipt_traces=" Andere Spuren, etwa Urteile über Ergebnisse: {traces}.",
    receipt_me="Deine älteren Nachrichten werden nicht wieder eingelesen.",
    receipt_opted_out="Du machst nicht mehr mit: Von dir wird nichts Neues gespeichert.",
    opted_out="Von jetzt an wird nichts gespeichert, was du hier schreibst.",
    opted_out_stored="Von früher noch gespeichert: {messages}. Soll das auch getilgt werden?",
    opted_in=("Von jetzt an wird gespeichert, was du hier schreibst, damit wiederfinden kann, wer es dort lesen darf."),
    export_nothing="Von dir ist hier nichts gespeichert; es gibt nichts auszugeben.",
    export_done="Alles, was hier von dir gespeichert ist: {messages}.",
    status_title="Das Gedächtnis dieses Servers",
    status_messages="Nachrichten",
    status_messages_text="{messages} · Personen: {authors} · Kanäle: {channels}",
    status_reach="Zeitraum",
    status_reach_text="{oldest} bis {newest}",
    status_history="Verlauf von früher",
    status_search="Suchindex",
    status_search_text="mit Vektoren: {embedded} von {messages} · davon im Index: {ready}",
    status_queue="In Arbeit",
    status_queue_text="wartende Ereignisse: {waiting} · aufgenommene Nachrichten je Sekunde: {rate}",
    status_problem="Problem",
    status_settings="Einstellungen",
    status_retention="Aufbewahrt für {days}",
    status_retention_none="Aufbewahrt, bis es gelöscht wird",
    status_on_join="Der Verlauf wird gelesen, wenn der Bot dazukommt",
    status_not_on_join="Der Verlauf wird nur auf Verlangen gelesen",
    status_instruction="Der Reranker hat eine eigene Anweisung für diesen Server",
    status_opted_out="Machen nicht mit: {count}",
    status_judgements="Urteile über Ergebnisse: {count} · beurteilte Fragen: {questions}",
    status_reranker="Reihenfolge der Ergebnisse",
    reranker_name="entschieden von {name}",
    reranker_state="das Modell ist nicht voll im Dienst ({state}): {reason}",
    reranker_changed="ein anderes erstes Ergebnis als die einfache Suche bei {share} von {count} Fragen",
    reranker_changed_moved=(
        "das Modell änderte das erste Ergebnis bei {share} der letzten {count} Fragen und verschob Ergebnisse um "
        "{move} Plätze"
    ),
    reranker_scores="P(yes) von {min} bis {max}, im Mittel {mean} · {ms} ms je Nachricht",
    reranker_counts="Modellaufrufe: {calls} · zu spät: {timeouts} · abgewiesen: {busy} · gescheitert: {failures}",
    reranker_side_a="A/B-Test, ohne Reranker: {questions} Fragen, 👍 {good} 👎 {bad}",
    reranker_side_b="A/B-Test, mit Reranker: {questions} Fragen, 👍 {good} 👎 {bad}",
    channels_all="Alle Kanäle werden aufgenommen",
    channels_allowed="Nur aufgenommen: {channels}",
    channels_denied="Nie aufgenommen: {channels}",
    channels_now_allowed="{channel} und seine Threads werden von jetzt an aufgenommen.",
    channels_only_now="Von jetzt an werden **nur** {channels} aufgenommen; `/memory channels clear` hebt das auf.",
    channels_now_denied=(
        "Aus {channel} und seinen Threads wird nichts Neues gespeichert. `/memory forget channel` tilgt, was schon "
        "gespeichert ist."
    ),
    channels_cleared="Es werden wieder alle Kanäle aufgenommen.",
    channels_too_many="und {count} weitere",
    retention_is="Nachrichten werden für {days} aufbewahrt und dann aus dem Gedächtnis gelöscht.",
    retention_none="Nachrichten bleiben, bis sie auf Discord gelöscht oder hier getilgt werden.",
    retention_ask=(
        "Nachrichten, die älter als {days} sind, werden jetzt und dann stündlich aus dem Gedächtnis gelöscht. "
        "Im Augenblick: {messages}."
    ),
    retention_many="mehr als {count}",
    retention_button="Ältere löschen",
    retention_done="Aus dem Gedächtnis gelöscht: {messages}. Von jetzt an werden Nachrichten für {days} aufbewahrt.",
    reset_ask=(
        "Die Einstellungen dieses Servers (Kanäle, Aufbewahrung, Anweisung) werden, als hätte nie jemand etwas "
        "eingestellt. Wer nicht mitmacht, bleibt draußen."
    ),
    reset_button="Zurücksetzen",
    reset_done="Die Einstellungen sind zurückgesetzt.",
    reset_opt_outs_lost=(
        "Die Liste derer, die nicht mitmachen, war beschädigt und musste auch weg: Bitte sag ihnen, dass sie noch "
        "einmal `/memory opt-out` nehmen sollen."
    ),
    instruction_is="Die Anweisung an den Reranker auf diesem Server:\n> {instruction}",
    instruction_none="Dieser Server hat keine eigene Anweisung; der Reranker nimmt seine übliche.",
    instruction_unread=(
        "Der Reranker, der im Einsatz ist ({reranker}), liest keine Anweisungen: Das ändert nichts, bis der Betreiber "
        "des Bots einen nimmt, der es tut."
    ),
    instruction_ask="Der Reranker soll auf diesem Server diese Anweisung lesen:\n> {instruction}",
    instruction_button="Nehmen",
    instruction_set="Die Anweisung gilt.",
    instruction_cleared="Die Anweisung ist weg; der Reranker nimmt seine übliche.",
    instruction_before="Ohne sie",
    instruction_after="Mit ihr",
    instruction_nothing="Zu dieser Frage findet sich nichts.",
    instruction_same="Bei dieser Frage ist die Reihenfolge beide Male dieselbe.",
    explain_title="Wie die Antwort zustande kam",
    explain_nothing="Dazu findet sich nichts.",
    explain_columns="kw: Wörter · vec: Vektoren · fused: beides, ohne Reranking · late: Late Interaction",
    explain_final="#: die Reihenfolge, die gezeigt wird ({reranker})",
    explain_model="P(yes): was das Modell des Rerankers ergab",
    explain_stages="Stufen",
    explain_without="Ohne Reranking",
    explain_without_same="Dasselbe Ergebnis stünde vorn.",
    explain_without_other="Vorn stünde: {line}",
    explain_without_rank="Das erste Ergebnis stünde an Stelle {rank}.",
    explain_stage="{name}: {count} in {milliseconds} ms",
    evaluate_title="Wie gut die Fragen dieses Servers beantwortet werden",
    evaluate_asked="Gestellte Fragen, zu denen es Urteile gibt: {questions}",
    evaluate_hidden="Ausgelassen, weil die gute Antwort steht, wo du nicht lesen darfst: {count}",
    evaluate_newest="Gestellt wurden nur die neuesten {count}.",
    evaluate_reranked="mit Reranking",
    evaluate_plain="ohne",
    evaluate_bad_first="schlecht vorn",
    evaluate_legend=(
        "hit@1: eine gute Nachricht steht vorn · MRR@10: eins durch ihren Platz · nDCG@10 und R@10: wie viele der "
        "guten unter den ersten zehn sind · schlecht vorn: eine Nachricht, die schlecht gefunden wurde, steht vorn"
    ),
    evaluate_nothing=(
        "Noch hat keine Frage ein Ergebnis mit mehr 👍 als 👎. Urteile zuerst mit den Knöpfen unter `/recall` über "
        "Ergebnisse."
    ),
    evaluate_progress="{count} von {total} Fragen gestellt …",
    stats_title="Kennzahlen des Gedächtnisses",
    stats_store="Speicher",
    stats_store_text=(
        "{messages} · ohne Vektor: {awaiting} · Server: {guilds} · Grabsteine: {tombstones} · "
        "{megabytes} MB auf der Platte"
    ),
    stats_recall="Antwortzeit",
    stats_recall_text="p50 {p50} ms · p95 {p95} ms · p99 {p99} ms, über die letzten {count}",
    stats_recall_none="Es wurde noch nichts gefragt.",
    stats_ingest="Aufnahme",
    stats_ingest_text="Nachrichten je Sekunde: {rate} · wartende Ereignisse: {waiting} · ohne Vektor: {not_finite}",
    stats_lag="Ereignisschleife",
    stats_lag_text="verspätet um p50 {p50} ms · p99 {p99} ms, über die letzte halbe Minute",
    stats_reranker="Reranker",
    stats_cache="Caches",
    stats_plot="Der letzte Tag, Minute für Minute",
    stats_no_plot="Das Bild kommt, wenn der Bot zwei Minuten läuft.",
)

COMMAND_TEXTS: Final = {
    "What is remembered here, and what not": "Was hier aufgenommen wird, und was nicht",
    "Erase what is stored, for good": "Gespeichertes endgültig tilgen",
    "Which channels are remembered": "Welche Kanäle aufgenommen werden",
    "What is stored about you, and how to get rid of it": "Was über dich gespeichert ist, und wie du es loswirst",
    "Erase all that is stored of you": "Alles tilgen, was von dir gespeichert ist",
    "Keep your new messages out of the memory": "Deine neuen Nachrichten aus dem Gedächtnis heraushalten",
    "Let your new messages into the memory": "Deine neuen Nachrichten ins Gedächtnis lassen",
    "All that is stored of you, as a file": "Alles, was von dir gespeichert ist, als Datei",
    "Admins: which channels are remembered": "Admins: welche Kanäle aufgenommen werden",
    "Admins: what is stored of this server": "Admins: was von diesem Server gespeichert ist",
    "Admins: how long messages are kept": "Admins: wie lange Nachrichten aufbewahrt werden",
    "Admins: undo all settings of this server": "Admins: alle Einstellungen dieses Servers zurücknehmen",
    "Admins: remember a channel": "Admins: einen Kanal aufnehmen",
    "Admins: never remember a channel": "Admins: einen Kanal nie aufnehmen",
    "Admins: remember all channels again": "Admins: wieder alle Kanäle aufnehmen",
    "Admins: erase all that is stored of a person": "Admins: alles tilgen, was von einer Person gespeichert ist",
    "Admins: erase all that is stored from a channel": "Admins: alles tilgen, was aus einem Kanal gespeichert ist",
    "Admins: erase all that is stored of this server": "Admins: alles tilgen, was von diesem Server gespeichert ist",
    "The channel, with its threads": "Der Kanal, mit seinen Threads",
    "Days after which messages are deleted; 0 keeps them; empty shows": (
        "Tage, nach denen Nachrichten gelöscht werden; 0 behält sie; leer zeigt, was gilt"
    ),
    "The person; they need not be on the server any more": "Die Person; sie muss nicht mehr auf dem Server sein",
    "Admins: which stage found what, and where it put it": "Admins: welche Stufe was fand und wohin sie es stellte",
    "Admins: what the reranker is told to look for": "Admins: worauf der Reranker achten soll",
    "Admins: measure the answers by people's 👍 and 👎": "Admins: die Antworten an 👍 und 👎 der Leute messen",
    "The question to explain": "Die Frage, um die es geht",
    "What makes a message relevant; empty shows the present one": (
        "Was eine Nachricht passend macht; leer zeigt, was gilt"
    ),
    "A question to try it with first": "Eine Frage, um es vorher auszuprobieren",
    "Go back to the usual instruction": "Zurück zur üblichen Anweisung",
    "For the bot's owner: load the models again": "Für den Betreiber des Bots: die Modelle neu laden",
    "For the bot's owner: times, caches, a plot": "Für den Betreiber des Bots: Zeiten, Caches, ein Bild",
    "Another profile; empty for the present one": "Ein anderes Profil; leer für das jetzige",
}
