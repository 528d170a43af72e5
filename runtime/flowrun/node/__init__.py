"""A deployed node: one supervisor (`flowc node`), and below it the processes of its roles.

supervisor (`supervise`: starts, watches, ends; knows nothing of NATS)
  ├─ leader process (`leader`: coordinators of the partitions that this node leads)
  ├─ ingress process (`flowrun.ingress`: webhooks), if it has that role
  └─ worker processes (`flowrun.worker`, with their executors)
"""

from __future__ import annotations
