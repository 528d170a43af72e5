"""Who decides. A person would be asked here; the example's finance department says yes below 100,000."""

from decimal import Decimal


def approval(group: str, amount: Decimal) -> str:
    if amount > 100_000:
        raise PermissionError(f"{group} refuses {amount}")
    return f"approved by {group}"


def approved(by: str) -> str:
    return f"approved by {by}"
