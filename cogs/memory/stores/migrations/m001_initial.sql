-- Ids are Discord snowflakes; times are microseconds since 1970 (UTC).

CREATE TABLE messages (
    id            INTEGER PRIMARY KEY,
    guild_id      INTEGER NOT NULL,
    channel_id    INTEGER NOT NULL,
    author_id     INTEGER NOT NULL,
    created_us    INTEGER NOT NULL,
    edited_us     INTEGER,
    reply_to      INTEGER,
    flags         INTEGER NOT NULL,            -- bits: 1 link, 2 file, 4 image, 8 code
    vector_space  INTEGER NOT NULL DEFAULT 0,  -- the space its vector belongs to; 0: none. The work list is an index on this.
    content_hash  BLOB    NOT NULL,
    author_name   TEXT    NOT NULL,
    author_handle TEXT    NOT NULL,
    content       TEXT    NOT NULL,
    extra         TEXT    NOT NULL,
    attachments   TEXT    NOT NULL,            -- JSON array of file names
    segments      TEXT    NOT NULL             -- text in scripts without spaces, cut into pairs of characters
) STRICT;

-- Neighbours by its first three columns; scopes without touching the table by all six.
CREATE INDEX messages_by_channel ON messages (guild_id, channel_id, id, author_id, created_us, flags);
-- Authors and their names without a second copy of them, so that a deleted message takes its names along.
CREATE INDEX messages_by_author ON messages (guild_id, author_id, author_name, author_handle);
CREATE INDEX messages_by_reply ON messages (reply_to) WHERE reply_to IS NOT NULL;
CREATE INDEX messages_by_vector_space ON messages (vector_space);

CREATE TABLE spaces (
    id         INTEGER PRIMARY KEY,            -- from 1
    key        TEXT    NOT NULL UNIQUE,
    dim        INTEGER NOT NULL,
    sketch_dim INTEGER NOT NULL
) STRICT;

-- One vector a message: its space stands in messages.vector_space. Sketches apart, because the index is rebuilt
-- from the vectors alone and they are half the bytes.
CREATE TABLE vectors (
    message_id INTEGER PRIMARY KEY REFERENCES messages ON DELETE CASCADE,
    vector     BLOB NOT NULL                   -- (dim,) float16, little-endian
) STRICT;

CREATE TABLE sketches (
    message_id INTEGER PRIMARY KEY REFERENCES messages ON DELETE CASCADE,
    sketch     BLOB NOT NULL                   -- (tokens, sketch_dim / 8) bytes
) STRICT;

CREATE TABLE tombstones (
    guild_id   INTEGER NOT NULL,
    message_id INTEGER NOT NULL,
    PRIMARY KEY (guild_id, message_id)
) STRICT, WITHOUT ROWID;

-- Messages of this author up to this time are refused: also those never seen before he was forgotten.
CREATE TABLE erasures (
    guild_id  INTEGER NOT NULL,
    author_id INTEGER NOT NULL,
    until_us  INTEGER NOT NULL,
    PRIMARY KEY (guild_id, author_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE channels (
    guild_id  INTEGER NOT NULL,
    id        INTEGER NOT NULL,
    name      TEXT    NOT NULL,
    parent_id INTEGER,
    PRIMARY KEY (guild_id, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE settings (
    guild_id INTEGER NOT NULL,                 -- 0: of the bot; -1: of the store itself
    key      TEXT    NOT NULL,
    value    TEXT    NOT NULL,
    PRIMARY KEY (guild_id, key)
) STRICT, WITHOUT ROWID;

-- What the full-text index holds of a message. The index stores no text: it reads it here.
CREATE VIEW searchable AS
SELECT
    m.id,
    m.author_name || ' ' || m.author_handle AS author,
    m.content || char(10) || m.extra AS content,
    coalesce((
        SELECT p.content FROM messages p INDEXED BY messages_by_channel
        WHERE p.guild_id = m.guild_id AND p.channel_id = m.channel_id AND p.id < m.id
        ORDER BY p.id DESC LIMIT 1
    ), '') AS previous,
    m.segments
FROM messages m;

CREATE VIRTUAL TABLE message_search USING fts5 (
    author, content, previous, segments,
    content = 'searchable', content_rowid = 'id',
    tokenize = 'porter unicode61 remove_diacritics 2'
);
