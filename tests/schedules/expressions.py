"""What is compared: fifty cron expressions, six time zones, one year."""

from __future__ import annotations

__all__ = ["EXPRESSIONS", "YEAR", "ZONES"]

#: the year, in UTC
YEAR = 2026

#: zones that differ: no change at all; the usual one, twice; half an hour; at midnight; and by the moon
ZONES = (
    "Asia/Kolkata",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Havana",
    "Africa/Casablanca",
)

EXPRESSIONS = (
    # by the clock as it goes
    "*/20 */4 * * *",
    "0 * * * *",
    "30 */3 * * *",
    "45 */2 * * *",
    "*/45 1-3 * * *",
    "*/30 0,2,3 * * *",
    "*/7 2 * * *",
    "*/15 2 29 3 *",
    "* 2 25 10 *",
    "5 */6 * * 1-5",
    # times of day that may not be there, or come twice
    "0 0 * * *",
    "30 0 * * *",
    "15 1 * * *",
    "45 1 * * *",
    "0 2 * * *",
    "10 2 * * *",
    "30 2 * * *",
    "59 2 * * *",
    "0 3 * * *",
    "0 2,3 * * *",
    "30 1-3 * * *",
    "0,30 2 * * *",
    "15,45 0-4 * * 0",
    "30 2 * * 0",
    "30 2 * * SUN",
    "30 2 * * 7",
    "0 0 * * SUN",
    # times of day
    "15 4 * * *",
    "0 9 * * 1-5",
    "0 9 * * MON-FRI",
    "30 8,12,16 * * *",
    "0 8-18/2 * * 1-5",
    "0 22 * * 6,0",
    "5,10,15 6 * * 2",
    "59 23 * * *",
    "1 0 * * *",
    # days of the month, months
    "0 0 1 * *",
    "0 6 1,15 * *",
    "0 12 L * *",
    "30 2 L * *",
    "0 4 31 * *",
    "0 4 29 2 *",
    "0 0 1 1 *",
    "0 0 1 */3 *",
    "0 7 1-7 * *",
    "0 5 10-20/5 JAN,JUL *",
    # days of the week in a month, and either of two
    "0 10 * * 1#1",
    "30 2 * * 0#4",
    "0 3 13 * 5",
    "15 2 1,29 * 0",
)
