"""Every subject, stream and bucket in one place. All carry the environment, so that two never meet on one server."""

from __future__ import annotations

import re

__all__ = [
    "blob_subject", "blob_stream", "inbox_stream", "inbox_subject", "note_subject", "result_stream", "result_subject",
    "subjects", "token", "work_consumer", "work_filter", "work_stream", "work_subject",
]  # fmt: skip

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")


def token(text: str) -> str:
    """A name as one token of a subject: what NATS does not take is written as `=` and its code in hex."""
    return _UNSAFE.sub(lambda m: f"={ord(m.group()):x}", text)


def subjects(env: str, kind: str) -> str:
    """All subjects of a kind: `inbox`, `work`, `result`, `blob`."""
    return f"flow.{token(env)}.{kind}.>"


def inbox_stream(env: str, partition: str) -> str:
    return f"FLOW_{token(env)}_INBOX_{token(partition)}"


def inbox_subject(env: str, partition: str) -> str:
    return f"flow.{token(env)}.inbox.{token(partition)}"


def work_stream(env: str) -> str:
    return f"FLOW_{token(env)}_WORK"


def work_subject(env: str, queue: str, priority: int | str, partition: str) -> str:
    """`priority` may be "*"."""
    return f"flow.{token(env)}.work.{token(queue)}.{priority}.{token(partition)}"


def work_filter(env: str, partition: str) -> str:
    """All work of a partition, whatever its queue and priority."""
    return f"flow.{token(env)}.work.*.*.{token(partition)}"


def work_consumer(queue: str, partition: str) -> str:
    """`==` never stands in a token, so the two parts cannot be mistaken."""
    return f"{token(queue)}=={token(partition)}"


def result_stream(env: str) -> str:
    return f"FLOW_{token(env)}_RESULT"


def result_subject(env: str, run: str) -> str:
    return f"flow.{token(env)}.result.{token(run)}"


def blob_stream(env: str) -> str:
    return f"FLOW_{token(env)}_BLOB"


def blob_subject(env: str, digest: str) -> str:
    return f"flow.{token(env)}.blob.{digest}"


def note_subject(env: str, topic: str, run: str) -> str:
    """Live notes over core NATS: `state`, `log`, `cancel`, `result`. `run` may be "*"."""
    return f"flow.{token(env)}.note.{topic}.{run if run == '*' else token(run)}"
