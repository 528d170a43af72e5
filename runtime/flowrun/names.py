"""Every subject, stream and bucket in one place. All carry the environment, so that two never meet on one server.

A *group* is a set of workers that share work: all deployed nodes are one, and a run that a command line leads has its
own. A *lane* is a queue and the kind of executor that its work needs.
"""

from __future__ import annotations

import re
from hashlib import blake2b

__all__ = [
    "blob_stream", "blob_subject", "delayed_filter", "delayed_subject", "entry_subject", "fence_subject",
    "heard_consumer", "heard_prefix", "heard_stream", "inbox_stream", "inbox_subject", "lane", "log_stream",
    "log_subject", "meta_stream", "note_subject", "result_stream", "result_subject", "subjects", "token",
    "work_consumer", "work_filter", "work_stream", "work_subject",
]  # fmt: skip

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")


def token(text: str) -> str:
    """A name as one token of a subject: what NATS does not take is written as `=` and its code in hex."""
    if text.isascii() and text.isalnum():
        return text
    return _UNSAFE.sub(lambda m: f"={ord(m.group()):x}", text)


def subjects(env: str, kind: str) -> str:
    """All subjects of a kind: `inbox`, `work`, `fence`, `result`, `blob`, `meta`, `log`."""
    return f"flow.{token(env)}.{kind}.>"


# ---- inboxes


def inbox_stream(env: str, partition: str) -> str:
    return f"FLOW_{token(env)}_INBOX_{token(partition)}"


def inbox_subject(env: str, partition: str) -> str:
    return f"flow.{token(env)}.inbox.{token(partition)}"


def delayed_subject(env: str, partition: str, name: str) -> str:
    """Where an event waits, as a message schedule, until it is due; in the stream of its inbox."""
    return f"flow.{token(env)}.delayed.{token(partition)}.{token(name)}"


def delayed_filter(env: str, partition: str) -> str:
    return f"flow.{token(env)}.delayed.{token(partition)}.*"


# ---- work


def lane(queue: str, executor: str) -> str:
    """What a worker pulls from: `media`, or `media@async` for work that needs another executor than a process."""
    return queue if executor == "process" else f"{queue}@{executor}"


def work_stream(env: str) -> str:
    return f"FLOW_{token(env)}_WORK"


def work_subject(env: str, group: str, lane: str, priority: int | str, partition: str) -> str:
    """`priority` and `partition` may be "*"."""
    last = partition if partition == "*" else token(partition)
    return f"flow.{token(env)}.work.{token(group)}.{token(lane)}.{priority}.{last}"


def work_filter(env: str, partition: str) -> str:
    """All work of a partition, whatever its group, lane and priority."""
    return f"flow.{token(env)}.work.*.*.*.{token(partition)}"


def work_consumer(group: str, lane: str) -> str:
    """`==` never stands in a token, so the two parts cannot be mistaken."""
    return f"{token(group)}=={token(lane)}"


def fence_subject(env: str, partition: str) -> str:
    """In the work stream: each leader of a partition rewrites it, which shuts its predecessors out."""
    return f"flow.{token(env)}.fence.{token(partition)}"


# ---- results, blobs, entries, logs


def result_stream(env: str) -> str:
    return f"FLOW_{token(env)}_RESULT"


def result_subject(env: str, run: str) -> str:
    return f"flow.{token(env)}.result.{token(run)}"


def blob_stream(env: str) -> str:
    return f"FLOW_{token(env)}_BLOB"


def blob_subject(env: str, digest: str) -> str:
    return f"flow.{token(env)}.blob.{digest}"


def meta_stream(env: str) -> str:
    return f"FLOW_{token(env)}_META"


def entry_subject(env: str, key: str) -> str:
    """An entry's key has dots between its parts ("lease.3"), which stay dots: whoever listens may filter by them."""
    return f"flow.{token(env)}.meta." + ".".join(part if part == "*" else token(part) for part in key.split("."))


def log_stream(env: str) -> str:
    return f"FLOW_{token(env)}_LOG"


def log_subject(env: str, run: str) -> str:
    """What tasks of a run write; stored for a time, and live for who subscribes."""
    return f"flow.{token(env)}.log.{token(run)}"


def note_subject(env: str, topic: str, key: str) -> str:
    """Live notes over core NATS. `key` may be "*"."""
    return f"flow.{token(env)}.note.{topic}.{key if key == '*' else token(key)}"


# ---- messages of other systems


def heard_stream() -> str:
    """Keeps what others publish on subjects that triggers wait for. All environments share it: two streams of one
    account cannot have the same subject."""
    return "FLOW_HEARD"


def heard_consumer(env: str, name: str, subject: str) -> str:
    """Of a trigger's source; another one if the subject changes."""
    mark = blake2b(subject.encode(), digest_size=4).hexdigest()
    return f"{heard_prefix(env)}{token(name)}=={mark}"


def heard_prefix(env: str) -> str:
    """How the names of an environment's consumers begin."""
    return f"flow=={token(env)}=="
