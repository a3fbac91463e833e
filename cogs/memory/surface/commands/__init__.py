"""The `/memory` group: for everyone, for those who manage a server, for the owner of the bot."""
