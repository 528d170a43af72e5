"""Small tasks that each show one thing."""

import datetime
from typing import TypedDict


class Status(TypedDict):
    """What a job says of itself."""

    round: int
    state: str


def extract(day: datetime.date) -> list[int]:
    """Fails, so that its `catch` can be seen."""
    raise ConnectionError(f"the source has nothing for {day}")


def cached(day: datetime.date) -> list[int]:
    return [day.year, day.month, day.day]


def create_cluster(nodes: int) -> str:
    print(f"a cluster of {nodes} nodes")
    return f"cluster-{nodes}"


def train(cluster: str, rows: list[int]) -> float:
    return sum(rows) / len(rows)


def delete_cluster(cluster: str) -> None:
    print(f"{cluster} is gone")


def poll(last_round: int) -> Status:
    return Status(round=last_round + 1, state="done" if last_round >= 2 else "busy")


def a(x: int) -> int:
    return x + 1


def b(x: int) -> int:
    return x + 2


def c(x: int) -> int:
    return x + 3


def add(x: int, y: int) -> int:
    return x + y


def double(x: int) -> int:
    return 2 * x


def neg(x: int) -> int:
    return -x


def notify(text: str) -> None:
    print(text)
