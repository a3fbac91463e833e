"""Was der Chat sagt, auf Deutsch."""

from __future__ import annotations

from typing import Final

from cogs.chat.texts import ChatTexts

GERMAN: Final = ChatTexts(
    source="{author} in {channel}, {date}",
    jump="hin",
    help=(
        "Frag mich, was auf diesem Server gesagt wurde: Ich antworte mit dem, was alle sehen dürfen, die diesen Kanal "
        "lesen, und sage, wo es steht. Schreib `{flag}` in deine Nachricht, damit ich ohne das Gedächtnis antworte. "
        "`/recall` findet mehr, nur für deine Augen."
    ),
    help_direct="Hier habe ich kein Gedächtnis: Was auf einem Server gesagt wurde, sage ich nur dort. Frag mich dort.",
    withdrawn=(
        "Diese Antwort hat etwas zitiert, das seither gelöscht, geändert oder verborgen wurde; ich habe sie "
        "zurückgenommen."
    ),
    not_shareable="Was ich dazu gefunden habe, darf ich hier nicht mehr zeigen.",
    nothing_asked=(
        "Ich sage, was auf diesem Server gesagt wurde: Frag mich etwas dazu. `{flag}` lässt das Gedächtnis weg."
    ),
    out_of_time="Ich konnte das Gedächtnis nicht rechtzeitig durchsehen; frag bitte noch einmal.",
    went_wrong="Hier ist etwas schiefgegangen; die Fehlernummer ist {error_id}.",
    memory_off="Das Gedächtnis ist auf diesem Server für Antworten ausgeschaltet.",
    memory_opted_out=(
        "Du machst beim Gedächtnis nicht mit, darum antworte ich ohne. `/memory opt-in` nimmt das zurück."
    ),
    memory_unwanted="Wie gewünscht, lasse ich das Gedächtnis weg. Ohne es weiß ich dazu nichts zu sagen.",
    memory_direct="In Direktnachrichten habe ich kein Gedächtnis; was auf einem Server gesagt wurde, bleibt dort.",
    memory_closed=(
        "Hier kann ich aus nichts schöpfen: Nicht alle, die diesen Kanal lesen, können lesen, was früher gesagt wurde. "
        "`/recall` zeigt dir, was du lesen darfst."
    ),
    budget_spent="Die Antworten von {provider} sind für heute aufgebraucht; das habe ich selbst gefunden.",
    provider_gone="{provider}, von diesem Server gewählt, gibt es nicht mehr; das habe ich selbst gefunden.",
    channel_always="In {channel} und seinen Threads antworte ich von jetzt an auf jede Nachricht.",
    channel_mention="In {channel} und seinen Threads antworte ich, wenn man mich erwähnt oder mir antwortet.",
    channel_never="In {channel} und seinen Threads antworte ich nicht mehr.",
    provider_is="Die Antworten schreibt **{provider}**. Zur Wahl stehen: {names}.",
    provider_set="Von jetzt an schreibt **{provider}** die Antworten.",
    provider_unknown="Einen Anbieter dieses Namens gibt es hier nicht. Zur Wahl stehen: {names}.",
    provider_ask=(
        "**{provider}** läuft nicht auf dem Rechner, auf dem dieser Bot läuft. Redet hier jemand mit dem Bot, geht "
        "das Geschriebene mit den Nachrichten darum herum und dem, was das Gedächtnis dazu findet (nur, was alle in "
        "dem Kanal lesen dürfen), dorthin. `/memory privacy` sagt das dann allen."
    ),
    provider_button="Nehmen",
    persona_is="Der Bot spricht als:\n> {persona}",
    persona_none="Der Bot hat auf diesem Server keine eigene Rolle.",
    persona_set="Von jetzt an spricht der Bot als:\n> {persona}",
    persona_cleared="Der Bot spricht wieder auf seine Art.",
    persona_unread=(
        "Der Anbieter, der im Einsatz ist ({provider}), zitiert nur: Eine Rolle ändert nichts, bis ein anderer gewählt "
        "ist."
    ),
    memory_is_on="Antworten dürfen aus dem Gedächtnis schöpfen.",
    memory_is_off="Antworten schöpfen nicht aus dem Gedächtnis. `/recall` geht wie zuvor.",
    budget_is="Eine Antwort bekommt bis zu {tokens} Token an Zitaten.",
    budget_replies=(
        "{provider} schreibt bis zu {count} Antworten am Tag; danach antworte ich nur mit Zitaten. Heute: {used}."
    ),
    budget_no_limit="Die Zahl der Antworten am Tag ist nicht begrenzt. Heute: {used}.",
    status_title="Antworten auf diesem Server",
    status_provider="Geschrieben von",
    status_provider_remote="{provider}, nicht auf diesem Rechner",
    status_memory="Gedächtnis",
    status_budget="Umfang",
    status_channels="Kanäle",
    status_always="Immer: {channels}",
    status_never="Nie: {channels}",
    status_mention="Sonst, wenn man mich erwähnt oder mir antwortet",
    status_persona="Rolle",
    status_times="Seit dem Start",
    status_times_text="Antworten: {replies} · im Mittel {median} ms · Token gelesen: {read} · geschrieben: {written}",
    status_nothing_yet="Noch keine Antworten",
    reset_ask="Alle Einstellungen von `/chat` werden, als hätte nie jemand etwas eingestellt.",
    reset_button="Zurücksetzen",
    reset_done="Die Einstellungen für den Chat sind zurückgesetzt.",
)

COMMAND_TEXTS: Final = {
    "How the bot replies on this server": "Wie der Bot auf diesem Server antwortet",
    "Whether replies may draw on the memory": "Ob Antworten aus dem Gedächtnis schöpfen dürfen",
    "When the bot replies in a channel": "Wann der Bot in einem Kanal antwortet",
    "The channel, with its threads; empty for this one": "Der Kanal, mit seinen Threads; leer für diesen",
    "To every message, when spoken to, or never": "Auf jede Nachricht, wenn man ihn anspricht, oder nie",
    "always: to every message": "immer: auf jede Nachricht",
    "mention: when mentioned or replied to": "angesprochen: wenn man ihn erwähnt oder ihm antwortet",
    "never": "nie",
    "Who writes the replies": "Wer die Antworten schreibt",
    "The provider; empty shows the present one": "Der Anbieter; leer zeigt den jetzigen",
    "How the bot speaks": "Wie der Bot spricht",
    "Who the bot is and how it speaks; empty shows it": "Wer der Bot ist und wie er spricht; leer zeigt es",
    "Go back to the bot's own way": "Zurück zur eigenen Art des Bots",
    "Let replies draw on the memory": "Antworten aus dem Gedächtnis schöpfen lassen",
    "Keep the memory out of replies": "Das Gedächtnis aus Antworten heraushalten",
    "How much a reply may cost": "Was eine Antwort kosten darf",
    "Tokens of quotes that a reply is given": "Token an Zitaten, die eine Antwort bekommt",
    "Replies a day that the provider may write; -1 for any number": (
        "Antworten, die der Anbieter am Tag schreiben darf; -1 für beliebig viele"
    ),
    "How replies are set up here": "Wie Antworten hier eingestellt sind",
    "Undo all chat settings of this server": "Alle Chat-Einstellungen dieses Servers zurücknehmen",
}
