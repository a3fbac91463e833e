-- Replies of the bot that quote stored messages, so that they can be taken back when a quoted message goes or changes.

CREATE TABLE replies (
    id         INTEGER PRIMARY KEY,            -- the first message of the reply
    guild_id   INTEGER NOT NULL,
    channel_id INTEGER NOT NULL,
    parts      TEXT    NOT NULL,               -- JSON array of the ids of all its messages
    stale      INTEGER NOT NULL DEFAULT 0      -- 1: something it quotes is gone or says something else now
) STRICT;

CREATE INDEX replies_stale ON replies (id) WHERE stale;

CREATE TABLE reply_sources (
    source_id INTEGER NOT NULL,                -- a message that was stored when it was quoted
    reply_id  INTEGER NOT NULL REFERENCES replies ON DELETE CASCADE,
    PRIMARY KEY (source_id, reply_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX reply_sources_by_reply ON reply_sources (reply_id);

-- Whichever way a message goes: deleted, erased, too old.
CREATE TRIGGER quoted_message_gone AFTER DELETE ON messages BEGIN
    UPDATE replies SET stale = 1 WHERE id IN (SELECT reply_id FROM reply_sources WHERE source_id = OLD.id);
END;

CREATE TRIGGER quoted_message_changed AFTER UPDATE OF content ON messages WHEN NEW.content IS NOT OLD.content BEGIN
    UPDATE replies SET stale = 1 WHERE id IN (SELECT reply_id FROM reply_sources WHERE source_id = OLD.id);
END;
