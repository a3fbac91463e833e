"""Replies to mentions, with what the memory knows."""
