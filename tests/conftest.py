"""What all tests share."""

from __future__ import annotations

import os
import signal

from hypothesis import settings

# In the background of a shell script SIGINT is ignored, and whatever is started from here would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A change is judged by the same examples each time; new ones are looked for wherever it is not being judged.
# How long one example takes says more about what else the machine does than about the code.
settings.register_profile("local", deadline=None)
settings.register_profile("ci", derandomize=True, deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "local")
