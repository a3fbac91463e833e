"""`/recall` and "Find related": from a question to the buttons under its answer."""
