"""Small tasks on an album."""

from typing import TypedDict


class Meta(TypedDict):
    """What is known of an album."""

    album: str
    source: str


class Part(TypedDict):
    """A part of an index."""

    name: str


def fetch_meta(album: str) -> Meta:
    return Meta(album=f" {album} ", source="")


def normalise(meta: Meta) -> Meta:
    return Meta(album=meta["album"].strip(), source=meta["source"])


def enrich(meta: Meta, source: str) -> Meta:
    return Meta(album=meta["album"], source=source)


def index_batch(part: Part) -> int:
    return len(part["name"])


def merge_index(sizes: list[int]) -> int:
    return sum(sizes)


def virus_scan(album: str) -> bool:
    return False


def licence_check(album: str) -> bool:
    return True
