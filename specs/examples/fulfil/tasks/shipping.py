"""Manifests and carriers. A manifest that nobody delivered is written by the second look, as a supplier would."""

import json
from pathlib import Path
from typing import TypedDict


class Found(TypedDict):
    """Whether the manifest has come."""

    ready: bool
    path: str


class Manifest(TypedDict):
    """What the supplier says of a delivery."""

    warehouse: str


class Slot(TypedDict):
    """A place in a warehouse for one item of an order."""

    sku: str
    qty: int
    warehouse: str
    note: str


class Shipment(TypedDict):
    """A parcel on its way."""

    sku: str
    carrier: str


def look_for_manifest(path: str) -> Found:
    file, seen = Path(path), Path(path).with_suffix(".seen")
    if not file.exists() and seen.exists():
        file.write_text(json.dumps({"warehouse": "north"}))
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        seen.touch()
    return Found(ready=file.exists(), path=path)


def parse_manifest(path: str) -> Manifest:
    return Manifest(warehouse=json.loads(Path(path).read_text())["warehouse"])


class Item(TypedDict):
    """A line of an order."""

    sku: str
    qty: int


def reserve(item: Item, manifest: Manifest, note: str) -> Slot:
    return Slot(sku=item["sku"], qty=item["qty"], warehouse=manifest["warehouse"], note=note)


def dhl(slot: Slot) -> Shipment:
    return Shipment(sku=slot["sku"], carrier="dhl")


def ups(slot: Slot) -> Shipment:
    return Shipment(sku=slot["sku"], carrier="ups")


def fedex(slot: Slot) -> Shipment:
    return Shipment(sku=slot["sku"], carrier="fedex")
