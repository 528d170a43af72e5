"""A till that remembers what it charged: the order's id is the idempotency key."""

import hashlib
from decimal import Decimal
from pathlib import Path

TILL = Path("out/till")


def charge(order: str, amount: Decimal) -> str:
    """The receipt's number; charging an order twice gives the same one."""
    if amount <= 0:
        raise ValueError(f"order {order} has the amount {amount}: nothing to charge")
    number = hashlib.sha256(order.encode()).hexdigest()[:8]
    TILL.mkdir(parents=True, exist_ok=True)
    (TILL / number).write_text(f"{order} {amount}\n")
    return number


def send_receipt(order: str, number: str) -> None:
    print(f"receipt {number} for order {order}")
