"""Which rows can be trusted."""


def is_bad(row: dict[str, float]) -> bool:
    """A sale has a price."""
    return row["amount"] <= 0


def check(rows: list[dict[str, float]]) -> dict[str, int]:
    return {"rows": len(rows), "bad": sum(map(is_bad, rows))}
