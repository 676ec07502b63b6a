"""Definitions only: one family of losses per file."""
