"""How much memory this process holds, and has held at its peak (Linux)."""

from __future__ import annotations

from pathlib import Path

STATUS = Path("/proc/self/status")
FORGET_PEAK = Path("/proc/self/clear_refs")


def available() -> bool:
    """Say whether this system tells the peak of a process."""
    return STATUS.exists() and FORGET_PEAK.exists()


def now() -> int:
    """Return the bytes that are resident."""
    return _status("VmRSS")


def peak() -> int:
    """Return the most bytes that were resident, since `forget_peak`."""
    return _status("VmHWM")


def forget_peak() -> None:
    """Let the peak be what is resident now."""
    FORGET_PEAK.write_text("5")


def _status(field: str) -> int:
    for line in STATUS.read_text().splitlines():
        if line.startswith(field):
            return 1024 * int(line.split()[1])
    raise LookupError(field)
