"""What each loss is called elsewhere, with its exact factor."""

from __future__ import annotations

from typing import Any


def alias(name: str, options: dict[str, Any]) -> Any:
    return None


def known() -> list[str]:
    return []
