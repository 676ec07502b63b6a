"""The workbench: choose, compare and explain training losses on a user's data."""
