"""Ids of runs. A client makes them, so that a submission that is repeated after a lost connection is the same run.

An id begins with the time, and so sorts by it; then comes what no other maker of ids has, and a number where one makes
several in the same millisecond. A submission with an idempotency key has an id that follows from the key.
"""

from __future__ import annotations

import itertools
import secrets
import time

from .partitions import partition_of

__all__ = ["RunIds", "new_run_id", "run_id_of_arrival", "run_id_of_key", "run_id_of_window", "triggered_run_id"]

#: without letters that are easily taken for others
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
#: characters of an id that tell the time, in milliseconds, and those that tell the maker: 35 bits
_TIME_PLACES, _MAKER_PLACES = 9, 7
#: of ids of the same millisecond
_NUMBERS = ["", *map("".join, itertools.product(_ALPHABET, repeat=2))]
#: bytes of the hash in an id made of a key
_KEY_BYTES = 12
#: characters of a hash in an id of a triggered run: 60 bits
_HASH_PLACES = 12


def _stamp(time_ms: int) -> str:
    text = ""
    for _ in range(_TIME_PLACES):
        time_ms, place = divmod(time_ms, len(_ALPHABET))
        text = _ALPHABET[place] + text
    return text


class RunIds:
    """Makes ids, each larger than the one before, also when the clock is set back."""

    def __init__(self) -> None:
        self._maker = "".join(secrets.choice(_ALPHABET) for _ in range(_MAKER_PLACES))
        self._time_ms = 0
        self._number = 0
        self._prefix = ""

    def new(self) -> str:
        """Such as `r01kex3ym5b8q2wf1`, and `r01kex3ym5b8q2wf100` for the next one of that millisecond."""
        now = time.time_ns() // 1_000_000
        if now <= self._time_ms and self._number < len(_NUMBERS) - 1:
            self._number += 1
            return self._prefix + _NUMBERS[self._number]
        self._time_ms, self._number = max(now, self._time_ms + 1), 0
        self._prefix = f"r{_stamp(self._time_ms)}{self._maker}"
        return self._prefix


def new_run_id() -> str:
    """One id, for who needs no more."""
    return RunIds().new()


def run_id_of_key(flow: str, key: str) -> str:
    """The id of the run of a flow that was submitted with this idempotency key, whoever submits it."""
    import hashlib  # start-up time: it loads OpenSSL, and few submissions have a key

    return "k" + hashlib.blake2b(f"{flow}\0{key}".encode(), digest_size=_KEY_BYTES).hexdigest()


def run_id_of_window(trigger: str, at_ms: int, number: int, partition: str, count: int) -> str:
    """The id of the n-th run for a time of a trigger's grid; as `triggered_run_id`."""
    return triggered_run_id(f"{trigger}\0{at_ms}\0{number}", at_ms, partition, count)


def run_id_of_arrival(identity: str, partition: str, count: int) -> str:
    """The id of a run that something started that came from outside: the same when it comes again, whenever that is. It
    belongs to this one of `count` partitions."""
    import hashlib  # start-up time: see above

    salt = 0
    while True:
        run = "e" + hashlib.blake2b(f"{identity}\0{salt}".encode(), digest_size=_KEY_BYTES).hexdigest()
        if count == 1 or partition_of(run, count) == partition:
            return run
        salt += 1


def triggered_run_id(identity: str, at_ms: int, partition: str, count: int) -> str:
    """The id of a run that nobody submits: it follows from what it is identified by and from its time, and belongs to
    this one of `count` partitions."""
    import hashlib  # start-up time: see above

    salt = 0
    while True:
        found = hashlib.blake2b(f"{identity}\0{salt}".encode(), digest_size=8).digest()
        number, text = int.from_bytes(found, "big"), ""
        for _ in range(_HASH_PLACES):
            number, place = divmod(number, len(_ALPHABET))
            text += _ALPHABET[place]
        run = f"t{_stamp(at_ms)}{text}"
        if count == 1 or partition_of(run, count) == partition:
            return run
        salt += 1
