"""An owner's quotas: never more than there is, by priority, waiting and fairness."""

from __future__ import annotations

import math
from typing import Any

from flowrun.engine.quotas import AGING_MS, Quotas
from flowrun.messages import Ask, Grant, Holder, QuotaDef, Release, Terms
from hypothesis import given
from hypothesis import strategies as st

START = 1_700_000_000_000


class Owner:
    """Quotas with holders that say what they want."""

    def __init__(self, definition: QuotaDef) -> None:
        self.quotas = Quotas()
        self.definition = definition
        self.now = START
        self.version = 0
        #: holder -> asked, granted, returned
        self.counts: dict[Holder, list[int]] = {}
        self.terms: dict[Holder, Terms] = {}
        #: (when, who, how many), in order
        self.granted: list[tuple[int, str, int]] = []
        self.told: list[Grant] = []

    def ask(self, name: str, count: int = 1, **terms: Any) -> Holder:
        holder = Holder(name)
        counts = self.counts.setdefault(holder, [0, 0, 0])
        counts[0] += count
        terms = {"definition": self.definition, "group": name, **terms}
        self.terms[holder] = Terms(**terms)
        self._say(holder)
        return holder

    def give_back(self, name: str, count: int = 1) -> None:
        holder = Holder(name)
        self.counts[holder][2] += count
        self._say(holder)

    def leave(self, name: str) -> None:
        holder = Holder(name)
        counts = self.counts.pop(holder)
        self.version += 1
        self.quotas.release(Release("q", holder, self.version, counts[1], counts[1], counts[1]), self.now)

    def _say(self, holder: Holder) -> None:
        self.version += 1
        ask = Ask("q", holder, "0", self.version, *self.counts[holder], self.terms[holder])
        self.quotas.ask(ask, self.now)

    def serve(self) -> list[str]:
        """Who is granted something."""
        self.quotas.open["q"] = None
        self.quotas.serve(self.now)
        found: list[str] = []
        while self.quotas.answers:
            grant = self.quotas.answers.popleft()[1]
            self.told.append(grant)
            counts = self.counts.get(grant.holder)
            if counts is not None and grant.granted > counts[1]:
                self.granted.append((self.now, grant.holder.run, grant.granted - counts[1]))
                found += [grant.holder.run] * (grant.granted - counts[1])
                counts[1] = grant.granted
        return found


def slots(limit: int) -> Owner:
    return Owner(QuotaDef(START, limit))


def in_turn(owner: Owner, count: int) -> list[str]:
    """Who is served when each gives back at once what it got."""
    order: list[str] = []
    for _ in range(count):
        for name in owner.serve():
            order.append(name)
            owner.give_back(name)
    return order


# ---- slots ----------------------------------------------------------------------------------------------------------


def test_equals_are_served_in_turn_however_much_each_wants() -> None:
    owner = slots(1)
    owner.ask("a", 100)
    owner.ask("b", 2)
    owner.ask("c", 2)
    assert in_turn(owner, 7) == ["a", "b", "c", "a", "b", "c", "a"]


def test_slots_are_shared_between_groups_within_one_serving() -> None:
    owner = slots(6)
    owner.ask("a", 100)
    owner.ask("b", 100)
    assert sorted(owner.serve()) == ["a"] * 3 + ["b"] * 3


def test_one_alone_gets_all_there_is() -> None:
    owner = slots(1_000)
    owner.ask("a", 5_000)
    assert len(owner.serve()) == 1_000
    assert len(owner.told) == 1


def test_a_higher_priority_goes_first() -> None:
    owner = slots(1)
    for name, priority in (("low", 1), ("high", 9), ("middle", 5)):
        owner.ask(name, priority=priority)
    assert in_turn(owner, 3) == ["high", "middle", "low"]


@given(st.integers(0, 8), st.integers(1, 9))
def test_who_waits_is_served_after_so_much_time_per_level_of_priority(low: int, more: int) -> None:
    high = min(9, low + more)
    owner = slots(1)
    owner.ask("busy", 10_000, priority=high)
    owner.serve()
    owner.ask("patient", priority=low)
    waited = 0
    while "patient" not in owner.serve():
        owner.give_back("busy")
        owner.now += 1_000
        waited += 1_000
        assert waited < 10 * AGING_MS
    assert (high - low) * AGING_MS <= waited <= (high - low) * AGING_MS + 2_000


def test_one_that_needs_more_slots_is_not_passed_over() -> None:
    owner = slots(3)
    owner.ask("a")
    owner.ask("b")
    assert owner.serve() == ["a", "b"]
    owner.ask("wide", slots=3)
    owner.ask("small")
    assert owner.serve() == []
    owner.give_back("a")
    owner.give_back("b")
    assert owner.serve() == ["wide"]
    owner.give_back("wide")
    assert owner.serve() == ["small"]


def test_one_that_wants_more_than_there_is_runs_alone() -> None:
    owner = slots(2)
    owner.ask("huge", slots=5)
    owner.ask("small")
    assert in_turn(owner, 2) == ["huge", "small"]


def test_the_latest_plan_says_how_many_slots_there_are() -> None:
    owner = slots(2)
    owner.ask("a", 10)
    assert owner.serve() == ["a", "a"]
    owner.ask("b", 1, definition=QuotaDef(START + 5, 4))
    assert sorted(owner.serve()) == ["a", "b"]
    owner.ask("c", 1, definition=QuotaDef(START + 3, 9))
    assert owner.serve() == []
    owner.ask("d", 1, definition=QuotaDef(START + 9, 1))
    owner.give_back("a", 3)
    assert owner.serve() == []
    owner.give_back("b")
    assert len(owner.serve()) == 1


def test_who_leaves_waits_no_more_and_holds_nothing() -> None:
    owner = slots(1)
    owner.ask("a")
    owner.ask("b")
    assert owner.serve() == ["a"]
    owner.leave("b")
    owner.leave("a")
    owner.serve()
    assert owner.quotas.by_name == {}


def test_what_is_outdated_is_not_heard() -> None:
    owner = slots(2)
    holder = owner.ask("a", 2)
    late = Ask("q", holder, "0", owner.version, 2, 0, 0, owner.terms[holder])
    assert owner.serve() == ["a", "a"]
    owner.give_back("a")
    owner.quotas.ask(late, owner.now)
    owner.quotas.release(Release("q", holder, owner.version - 1, 2, 2, 2), owner.now)
    assert owner.quotas.taken("q") == 1


ACTIONS = st.lists(
    st.tuples(st.sampled_from("abcde"), st.sampled_from(["ask", "back", "leave", "serve", "pack"]), st.integers(1, 9)),
    max_size=60,
)


@given(st.integers(1, 5), ACTIONS)
def test_never_more_slots_are_held_than_there_are_and_nothing_leaks(limit: int, actions: list[Any]) -> None:
    owner = slots(limit)
    weights = {name: 1 + i % 3 for i, name in enumerate("abcde")}
    for name, action, number in actions:
        counts = owner.counts.get(Holder(name))
        if action == "ask":
            owner.ask(name, number, slots=weights[name], priority=number)
        elif action == "back" and counts and counts[1] > counts[2]:
            owner.give_back(name)
        elif action == "leave" and counts:
            owner.leave(name)
        elif action == "pack":
            packed = owner.quotas.pack()
            open_before = owner.quotas.open
            owner.quotas = Quotas()
            owner.quotas.restore(packed)
            owner.quotas.open.update(open_before)
            assert owner.quotas.pack() == packed
        owner.serve()
        held = sum((two - three) * min(weights[h.run], limit) for h, (_, two, three) in owner.counts.items())
        assert held == owner.quotas.taken("q") <= limit
    for holder in list(owner.counts):
        owner.leave(holder.run)
    owner.serve()
    assert owner.quotas.by_name == {}


@given(st.integers(1, 4), st.lists(st.tuples(st.integers(1, 5), st.integers(0, 9), st.integers(1, 3)), max_size=12))
def test_everybody_is_served_in_the_end(limit: int, asks: list[tuple[int, int, int]]) -> None:
    owner = slots(limit)
    for i, (count, priority, weight) in enumerate(asks):
        owner.ask(f"h{i}", count, priority=priority, slots=weight)
    served = in_turn(owner, 1 + sum(count for count, _, _ in asks))
    assert sorted(served) == sorted(f"h{i}" for i, (count, _, _) in enumerate(asks) for _ in range(count))


# ---- rates ----------------------------------------------------------------------------------------------------------


def advance(owner: Owner) -> bool:
    """To when the quota wakes its owner."""
    at = owner.quotas.wakes_at("q")
    if at is None:
        return False
    assert at > owner.now
    owner.now = at
    return True


@given(
    st.integers(1, 500), st.sampled_from([100, 1_000, 60_000]), st.integers(1, 40),
    st.lists(st.tuples(st.integers(1, 200), st.integers(0, 3_000)), min_size=1, max_size=5),
)  # fmt: skip
def test_in_no_span_of_time_more_tokens_go_than_the_rate_allows(
    rate: int, per_ms: int, burst: int, asks: list[tuple[int, int]]
) -> None:
    owner = Owner(QuotaDef(START, burst, rate, per_ms))
    wanted = 0
    for i, (count, pause) in enumerate(asks):
        owner.ask(f"h{i}", count)
        wanted += count
        owner.serve()
        until = owner.now + pause
        while (at := owner.quotas.wakes_at("q")) is not None and at <= until:
            advance(owner)
            owner.serve()
        owner.now = until
    while advance(owner):
        owner.serve()
    assert sum(count for _, _, count in owner.granted) == wanted
    times = [at for at, _, count in owner.granted for _ in range(count)]
    for i, first in enumerate(times):
        for j in (i, min(i + burst, len(times) - 1), len(times) - 1):
            assert (j - i + 1 - burst) * per_ms <= rate * (times[j] - first)
    each = math.ceil(per_ms / rate)
    assert times[-1] - START <= wanted * each + sum(pause for _, pause in asks)


def test_tokens_for_many_come_in_lumps() -> None:
    owner = Owner(QuotaDef(START, 100, 1_000, 1_000))
    owner.ask("a", 1_100)
    owner.serve()
    wakes = 0
    while advance(owner):
        owner.serve()
        wakes += 1
    assert wakes <= 25
    assert owner.now - START == 1_000


def test_a_bucket_fills_while_nobody_asks_up_to_its_burst() -> None:
    owner = Owner(QuotaDef(START, 3, 1, 1_000))
    owner.ask("a", 3)
    assert len(owner.serve()) == 3
    owner.leave("a")
    owner.now += 60_000
    owner.ask("b", 5)
    assert len(owner.serve()) == 3


def test_a_new_rate_counts_from_now_on() -> None:
    owner = Owner(QuotaDef(START, 1, 1, 60_000))
    owner.ask("a", 2)
    owner.serve()
    owner.ask("b", 1, definition=QuotaDef(START + 1, 1, 10, 1_000))
    owner.serve()
    assert owner.quotas.wakes_at("q") == START + 100


# ---- conflicts ------------------------------------------------------------------------------------------------------


def test_a_new_one_is_refused_while_the_limit_is_reached() -> None:
    for how, answer in (("cancel_new", "cancel"), ("skip", "skip")):
        owner = slots(1)
        owner.ask("old", on_conflict=how)
        owner.serve()
        owner.ask("new", on_conflict=how)
        assert owner.serve() == []
        assert [(grant.holder.run, grant.answer) for grant in owner.told] == [("old", "granted"), ("new", answer)]
        owner.leave("old")
        owner.ask("newer", on_conflict=how)
        assert owner.serve() == ["newer"]


def test_the_oldest_gives_way_to_a_new_one_also_if_it_still_waits() -> None:
    owner = slots(1)
    owner.ask("a", on_conflict="cancel_running")
    assert owner.serve() == ["a"]
    owner.ask("b", on_conflict="cancel_running")
    owner.ask("c", on_conflict="cancel_running")
    assert owner.serve() == []
    assert [(grant.holder.run, grant.answer) for grant in owner.told[1:]] == [("a", "cancel"), ("b", "cancel")]
    owner.leave("a")
    assert owner.serve() == ["c"]


# ---- what is deployed -----------------------------------------------------------------------------------------------


def test_a_smaller_pool_takes_effect_as_holders_give_back() -> None:
    owner = slots(3)
    for name in "abcd":
        owner.ask(name)
    assert len(owner.serve()) == 3
    owner.quotas.deploy("shop", {"q": QuotaDef(START + 1, 1)}, owner.now)
    owner.give_back("a")
    owner.give_back("b")
    assert owner.serve() == []
    owner.give_back("c")
    assert owner.serve() == ["d"]


def test_a_larger_pool_serves_who_waits_without_another_ask() -> None:
    owner = slots(1)
    owner.ask("a")
    owner.ask("b")
    assert owner.serve() == ["a"]
    owner.quotas.deploy("shop", {"q": QuotaDef(START + 1, 2)}, owner.now)
    assert list(owner.quotas.open) == ["q"]
    assert owner.serve() == ["b"]


def test_what_is_deployed_wins_over_plans_that_are_newer_and_over_an_empty_pool() -> None:
    owner = slots(5)
    owner.quotas.deploy("shop", {"q": QuotaDef(START - 9, 1)}, owner.now)
    for name in "ab":
        owner.ask(name)
    assert owner.serve() == ["a"]


def test_what_is_undeployed_is_what_plans_say_again() -> None:
    owner = slots(2)
    owner.quotas.deploy("shop", {"q": QuotaDef(START - 9, 1)}, owner.now)
    owner.quotas.deploy("shop", {}, owner.now)
    for name in "abc":
        owner.ask(name)
    assert sorted(owner.serve()) == ["a", "b"]


def test_two_projects_share_a_pool_until_the_last_of_them_is_gone() -> None:
    owner = slots(9)
    owner.quotas.deploy("shop", {"q": QuotaDef(START, 2)}, owner.now)
    owner.quotas.deploy("bank", {"q": QuotaDef(START + 5, 2)}, owner.now)
    owner.quotas.deploy("bank", {}, owner.now)
    assert owner.quotas.deployed("q") == QuotaDef(START, 2)


def test_a_rate_is_slowed_down_while_it_is_used() -> None:
    owner = Owner(QuotaDef(START, 10, 10, 1_000))
    owner.ask("a", 100)
    assert len(owner.serve()) == 10
    owner.quotas.deploy("shop", {"q": QuotaDef(START + 1, 1, 1, 1_000)}, owner.now)
    owner.now += 1_000
    assert len(owner.serve()) == 1


def test_a_snapshot_has_what_is_deployed() -> None:
    owner = slots(5)
    owner.quotas.deploy("shop", {"q": QuotaDef(START, 1)}, owner.now)
    restored = Quotas()
    restored.restore(owner.quotas.pack())
    assert restored.deployed("q") == QuotaDef(START, 1)
    assert restored.pack() == owner.quotas.pack()


_ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.sampled_from("abcdef"), st.integers(1, 4)),
        st.tuples(st.just("back"), st.sampled_from("abcdef"), st.just(1)),
        st.tuples(st.just("deploy"), st.sampled_from(["shop", "bank"]), st.integers(0, 5)),
    ),
    max_size=40,
)


@given(_ACTIONS)
def test_whatever_is_deployed_nothing_is_granted_beyond_it_and_nobody_waits_for_what_is_free(
    actions: list[tuple[str, str, int]],
) -> None:
    owner = slots(3)
    for number, (action, name, count) in enumerate(actions):
        owner.now += 1
        counts = owner.counts.get(Holder(name), [0, 0, 0])
        if action == "ask":
            owner.ask(name, count)
        elif action == "back" and counts[1] > counts[2]:
            owner.give_back(name)
        elif action == "deploy":
            owner.quotas.deploy(name, {"q": QuotaDef(START + number, count)} if count else {}, owner.now)
        granted = owner.serve()
        quota = owner.quotas.by_name.get("q")
        if quota is None:
            continue
        deployed = owner.quotas.deployed("q")
        assert deployed is None or quota.definition == deployed
        held = sum(granted - returned for _, granted, returned in owner.counts.values())
        assert not granted or held <= quota.definition.limit
        waiting = any(asked > granted for asked, granted, _ in owner.counts.values())
        assert not waiting or held >= quota.definition.limit
