"""The model cache: what it keeps, for how long, who waits for whom, and when a model is unloaded."""
