"""Losses in other libraries' terms; a framework is imported only when asked for."""
