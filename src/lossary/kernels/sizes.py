"""The pieces in which kernels walk over arrays, in items.

A block fits in the first cache; a chunk is the unit of summation, so that sums do not
depend on how many threads share the chunks.
"""

from __future__ import annotations

BLOCK = 1 << 10
CHUNK = 1 << 16
