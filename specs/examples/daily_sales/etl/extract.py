"""One day of raw sales. The lake is simulated: the same day gives the same rows."""

import datetime
import random

from flowrun.operator import Context


def main(day: datetime.date, ctx: Context) -> list[dict[str, object]]:
    lake = ctx.connections["lake"].fields
    ctx.log.info("reading s3://%s/sales/%s", lake["bucket"], day)
    numbers = random.Random(day.toordinal())
    return [{"id": number, "amount": round(numbers.uniform(-10, 200), 2)} for number in range(1, 201)]
