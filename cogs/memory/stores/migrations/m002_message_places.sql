-- Where a message stands, without reading its row: keyword search asks it of every match.
CREATE INDEX messages_by_id ON messages (id, guild_id, channel_id);
