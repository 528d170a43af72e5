"""`flowc explain`."""

from __future__ import annotations

import pytest
from flowc.catalog import entries
from flowc.explain import explain


@pytest.mark.parametrize("wanted", ["FL0201", "fl0201", "unknown-name", " Unknown-Name "])
def test_by_code_and_by_name(wanted: str) -> None:
    page = explain(wanted)
    assert page.startswith("# FL0201 unknown-name (error)\n")
    assert page.count("```flow\n") == 2


def test_every_entry_has_a_page() -> None:
    for entry in entries():
        page = explain(entry.code)
        assert entry.explanation in page
        assert ("flow: ignore" in page) == (entry.severity != "error" or entry.name == "unused-suppression")


@pytest.mark.parametrize(
    ("wanted", "hint"), [("unknown-nam", "`unknown-name`"), ("FL0231", "did you mean `FL0"), ("x", "look like")]
)
def test_what_is_not_there(wanted: str, hint: str) -> None:
    with pytest.raises(KeyError) as error:
        explain(wanted)
    assert f"there is no finding `{wanted}`" in error.value.args[0]
    assert hint in error.value.args[0]
