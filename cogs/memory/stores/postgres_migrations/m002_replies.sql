-- Replies of the bot that quote stored messages, so that they can be taken back when a quoted message goes or changes.

CREATE TABLE replies (
    guild_id   bigint  NOT NULL,
    id         bigint  NOT NULL,                         -- the first message of the reply
    channel_id bigint  NOT NULL,
    parts      bigint[] NOT NULL,                        -- the ids of all its messages
    stale      boolean NOT NULL DEFAULT false,           -- something it quotes is gone or says something else now
    PRIMARY KEY (guild_id, id)
);
CREATE INDEX replies_stale ON replies (guild_id, id) WHERE stale;

CREATE TABLE reply_sources (
    guild_id  bigint NOT NULL,
    source_id bigint NOT NULL,                           -- a message that was stored when it was quoted
    reply_id  bigint NOT NULL,
    PRIMARY KEY (guild_id, source_id, reply_id)
);
CREATE INDEX reply_sources_by_reply ON reply_sources (guild_id, reply_id);
