"""The tasks of `flowc_peer`: plain functions."""


def noop(x: int) -> int:
    return x


def add_one(x: int) -> int:
    return x + 1


def total(values: list[int]) -> int:
    return sum(values)
