"""Every node of a chaos test says that it is a host of its own: so a dead leader is not recognised by its process id,
and its lease must run out, as between machines."""

import os
import socket

if "FLOW_CHAOS_HOST" in os.environ:
    socket.gethostname = lambda: os.environ["FLOW_CHAOS_HOST"]
