"""What all tests share."""

from __future__ import annotations

import os

from hypothesis import settings

# A change is judged by the same examples each time; new ones are looked for wherever it is not being judged.
# How long one example takes says more about what else the machine does than about the code.
settings.register_profile("local", deadline=None)
settings.register_profile("ci", derandomize=True, deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "local")
