"""Tests of what makes replies."""
