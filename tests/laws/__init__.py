"""What holds for every loss in every framework; also run as commands."""

import environment  # noqa: F401 - it is read when libraries are loaded
