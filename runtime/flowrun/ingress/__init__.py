"""What comes from outside and starts runs: requests to webhooks, messages of other systems on NATS, files.

    webhook   `server`: a process of a node that speaks HTTP; `webhooks` answers requests
    event     `subjects`: the leader of a trigger's partition reads a durable consumer
    file      `files`: the same leader looks at the folder every few seconds

Each becomes an `Arrived` in the inbox of its trigger's partition, with an id by which it counts once however often it
comes. What is wrong with it is found before: a signature, a body that does not have its type.
"""

from __future__ import annotations
