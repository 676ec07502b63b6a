"""What every test shares."""

from __future__ import annotations

import environment  # noqa: F401 - first: it is read when libraries are loaded
from hypothesis import settings

# The first example of a kernel's test compiles it, so examples take unequal time.
settings.register_profile("lossary", deadline=None)
settings.load_profile("lossary")
