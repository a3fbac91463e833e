"""What the one who runs the bot sees of it: log, figures, signs of life, signals, shards."""
