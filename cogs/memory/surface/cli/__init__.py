"""The commands of ``bot.py`` that need no Discord."""
