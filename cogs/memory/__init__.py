"""The memory cog."""
