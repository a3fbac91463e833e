"""The bot's extensions, one package each."""
