"""What a deployment would change."""

from __future__ import annotations

from flowrun.deployments.building import Built
from flowrun.deployments.changes import changes_between, nothing_of

from .builders import built, flow, webhook


def told(old: Built, new: Built) -> list[tuple[str, str, str]]:
    return [(one.action, one.what, one.name) for one in changes_between(old.manifest, new.manifest)]


def test_what_is_added_changed_and_removed() -> None:
    old = built("shop", flow("kept"), flow("gone"), flow("changed"), slots=3)
    new = built("shop", flow("kept"), flow("new"), flow("changed", target="tasks:other"), slots=5, rate=2)
    assert told(old, new) == [
        ("change", "flow", "changed"), ("remove", "flow", "gone"), ("add", "flow", "new"),
        ("change", "pool", "db"), ("add", "limit", "api"),
    ]  # fmt: skip
    assert changes_between(old.manifest, new.manifest)[3].details == ("slots: 3 → 5",)


def test_the_same_has_no_changes() -> None:
    assert told(built("shop", flow(), slots=1), built("shop", flow(), slots=1)) == []


def test_other_code_is_one_change_and_no_change_of_flows() -> None:
    old, new = built("shop", flow(), code=b"1"), built("shop", flow(), code=b"2")
    assert told(old, new) == [("change", "code", new.manifest.code)]
    assert told(built("shop", flow()), new) == [("add", "code", new.manifest.code)]
    assert told(new, built("shop", flow())) == [("remove", "code", new.manifest.code)]


def test_triggers_are_told_beside_their_flows_wherever_they_stand() -> None:
    old = built("shop", flow(triggers=(webhook("hook", "/a"),)))
    moved = built("shop", flow(triggers=(webhook("hook", "/b"),)))
    assert told(old, moved) == [("change", "flow", "nightly"), ("change", "trigger", "nightly.hook")]
    assert ("remove", "trigger", "nightly.hook") in told(old, built("shop", flow()))
    assert changes_between(old.manifest, moved.manifest)[1].details == ('webhook("/a") → webhook("/b")',)
    assert changes_between(nothing_of("shop"), old.manifest)[1].details == ('webhook("/a")',)


def test_everything_goes_with_an_undeploy() -> None:
    old = built("shop", flow(), slots=2).manifest
    found = changes_between(old, nothing_of("shop"))
    assert [(one.action, one.what) for one in found] == [("remove", "flow"), ("remove", "pool")]
