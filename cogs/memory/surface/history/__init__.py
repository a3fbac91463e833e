"""What was said before the bot came and while it was away, and whether what is stored still stands."""
