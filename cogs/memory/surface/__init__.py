"""Every face of the memory: Discord, the console, and who may read what."""
