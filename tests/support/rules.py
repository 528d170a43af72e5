"""What each trigger rule says of two upstreams, as `trigger-rules.md` has it."""

from __future__ import annotations

__all__ = ["COLUMNS", "TABLE"]

#: of two upstreams: success, failed, skipped, upstream_failed, not ended
COLUMNS = ["SS", "SF", "SK", "SU", "S.", "FF", "FK", "FU", "F.", "KK", "KU", "K.", "UU", "U.", ".."]
#: R: it runs, k: skipped, u: upstream_failed, w: it waits
TABLE = {
    "ok": "R u k u w u u u u k u w u u w",
    "failed": "k k k k k R k R w k k k R w w",
    "done": "R R R R w R R R w R R w R w w",
    "done_any_ok": "R R k R w u k u w k k k u w w",
    "any_ok": "R R R R R u u u w k u w u w w",
    "any_failed": "k R k R w R R R R k R w R R w",
    "any_done": "R R R R R R R R R k k w k w w",
    "none_failed": "R u R u w u u u u R u w u u w",
    "none_failed_any_ok": "R u R u w u u u u k u w u u w",
    "none_skipped": "R R k R w R k R w k k k R w w",
    "skipped": "k k k k k k k k k R k w k k w",
    "always": "R R R R R R R R R R R R R R R",
}
