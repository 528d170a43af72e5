"""What is owed is out, waits or is dispatched: each part of it exactly once."""

from __future__ import annotations

from typing import Any

from flowrun.capacity import Capacity
from flowrun.coordinator.standing import adopt, missing, note_handed_back
from flowrun.dispatch import Dispatcher
from flowrun.dispatched import HandedBack
from flowrun.engine.commands import Ready
from flowrun.messages import Bundle, Outcome, Results, Then, WorkItem
from flowrun.settings import Settings
from hypothesis import given
from hypothesis import strategies as st

SETTINGS = Settings()


def ready(run: str = "r", node: int = 1, first: int = -1, last: int = -1, **changes: Any) -> Ready:
    given: dict[str, Any] = {
        "scope": 0, "block": 0, "attempt": 1, "inputs": (), "plan": "p", "flow": "", "lane": "default", "priority": 5,
        "order": 1,
    }  # fmt: skip
    return Ready(run=run, node=node, first=first, last=last, **{**given, **changes})


def item(run: str = "r", node: int = 1, first: int = -1, last: int = -1, **changes: Any) -> WorkItem:
    given: dict[str, Any] = {"plan": 0, "flow": "", "scope": 0, "block": 0, "attempt": 1, "inputs": ()}
    return WorkItem(run=run, node=node, first=first, last=last, **{**given, **changes})


def bundle(*items: WorkItem, id: str = "b") -> Bundle:
    return Bundle(id=id, partition="0", lane="default", plans=("p",), items=items)


def dispatcher() -> Dispatcher:
    return Dispatcher("0", "x", Capacity("g", SETTINGS, fixed=2), SETTINGS)


def test_what_stands_is_not_dispatched_again() -> None:
    d = dispatcher()
    left = adopt(d, [ready("a"), ready("b"), ready("c", attempt=2)], [bundle(item("a"), item("c"))], 0.0)
    assert [(one.run, one.attempt) for one in left] == [("b", 1), ("c", 2)]
    assert d.outstanding == 1


def test_a_follower_is_where_its_chain_is() -> None:
    d = dispatcher()
    standing = [bundle(item("a", then=(Then(node=2, inputs=()), Then(node=3, inputs=()))))]
    assert adopt(d, [ready("a", node=2)], standing, 0.0) == []
    assert missing(d, [ready("a", node=2), ready("a", node=3)]) == []


def test_what_was_handed_back_is_not_where_it_was() -> None:
    handed_back: dict[str, HandedBack] = {}
    returned = [
        Outcome("r", 0, 1, 1, "returned", first=2, last=4),
        Outcome("a", 0, 1, 1, "returned"),
        Outcome("s", 0, 1, 1, "success"),
    ]
    note_handed_back(handed_back, Results("b", "w", tuple(returned)))
    d = dispatcher()
    standing = [bundle(item(first=0, last=6), item("a"), item("s"))]
    left = adopt(d, [ready(first=0, last=6), ready("a"), ready("s")], standing, 0.0, handed_back)
    assert [(one.run, one.first, one.last) for one in left] == [("r", 2, 4), ("a", -1, -1)]
    found = missing(d, [ready(first=0, last=6), ready("a"), ready("s")])
    assert [(one.run, one.first, one.last) for one in found] == [("r", 2, 4), ("a", -1, -1)]


def test_what_follows_the_end_of_a_chain_is_not_in_its_bundle() -> None:
    """A worker ends a chain at what did not succeed; what follows may run all the same, in another bundle."""
    standing = [bundle(item("a", then=(Then(node=2, inputs=()), Then(node=3, inputs=()))))]
    skipped = Results("b", "w", (Outcome("a", 0, 1, 1, "success"), Outcome("a", 0, 2, 1, "skipped")))
    handed_back: dict[str, HandedBack] = {}
    note_handed_back(handed_back, skipped)
    assert adopt(dispatcher(), [ready("a", node=3)], standing, 0.0, handed_back) == [ready("a", node=3)]


def test_the_end_of_a_chain_is_remembered_while_its_bundle_is_out() -> None:
    chain, d = item("a", then=(Then(node=2, inputs=()), Then(node=3, inputs=()))), dispatcher()
    both = bundle(chain, item("b"))
    assert adopt(d, [ready("a"), ready("b")], [both], 0.0) == []
    d.outcomes("b", (Outcome("a", 0, 1, 1, "skipped"),))
    assert adopt(dispatcher(), [ready("a", node=3), ready("b")], [both], 0.0, d.handed_back()) == [ready("a", node=3)]


def test_a_bundle_of_which_nothing_is_wanted_holds_no_place() -> None:
    d = dispatcher()
    assert adopt(d, [], [bundle(item("a")), bundle(id="empty")], 0.0) == []
    assert d.outstanding == 0


def test_what_waits_is_not_missing() -> None:
    d = dispatcher()
    d.add(ready("a"), 0.0)
    d.add(ready("r", first=0, last=10), 0.0)
    found = missing(d, [ready("a"), ready("b"), ready("r", first=5, last=20)])
    assert [(one.run, one.first, one.last) for one in found] == [("b", -1, -1), ("r", 10, 20)]


_RANGES = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)).map(lambda r: (r[0], r[0] + r[1])), max_size=6)


@given(_RANGES, _RANGES)
def test_every_item_that_is_owed_is_in_one_place(owed: list[tuple[int, int]], standing: list[tuple[int, int]]) -> None:
    wanted = {i for first, last in owed for i in range(first, last)}
    readies = [ready(first=i, last=i + 1) for i in sorted(wanted)]
    bundles = [bundle(item(first=first, last=last), id=f"b{n}") for n, (first, last) in enumerate(standing)]
    d = dispatcher()
    left = [i for one in adopt(d, readies, bundles, 0.0) for i in range(one.first, one.last)]
    out = {i for first, last in standing for i in range(first, last)}
    assert sorted(left) == sorted(wanted - out)
    again = missing(d, readies)
    assert sorted(i for one in again for i in range(one.first, one.last)) == sorted(wanted - out)
