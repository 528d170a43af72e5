"""From plans to a manifest."""

from __future__ import annotations

import msgspec
import pytest
from flowc.plan import AnySource, AtSource, ConnectionDef, CustomSource, TriggerDef, VarDef, decode, digest
from flowc.types import INT
from flowrun.manifest import (
    Manifest,
    ManifestError,
    decode_history,
    decode_manifest,
    encode_manifest,
    plans_of,
)

from tests.support.plans import INTEGER

from .builders import built, flow, webhook


def test_the_same_sources_have_the_same_manifest_in_whatever_order() -> None:
    one, two = flow("a"), flow("b")
    assert built("shop", one, two, slots=3).digest == built("shop", two, one, slots=3).digest
    assert built("shop", one).digest != built("bank", one).digest
    assert built("shop", one, slots=3).digest != built("shop", one, slots=4).digest


def test_all_that_a_manifest_names_is_among_its_blobs() -> None:
    found = built("shop", flow("a"), flow("b"), code=b"code")
    assert set(found.blobs) == {*plans_of(found.manifest), found.manifest.code, found.digest}
    assert all(digest(data) == name for name, data in found.blobs.items())
    assert decode_manifest(found.blobs[found.digest]) == found.manifest


def test_plans_carry_their_code_and_what_they_do_is_told_without_it() -> None:
    plain, packed, other = built("shop", flow()), built("shop", flow(), code=b"1"), built("shop", flow(), code=b"2")
    (flow1,), (flow2,) = packed.manifest.flows, other.manifest.flows
    assert decode(packed.blobs[flow1.plan]).code == packed.manifest.code != ""
    assert flow1.plan != flow2.plan
    assert flow1.logic == flow2.logic == plain.manifest.flows[0].plan == plain.manifest.flows[0].logic


def test_what_it_needs_is_found_wherever_it_stands() -> None:
    connection = ConnectionDef(name="db", kind="postgres", fields=(("password", ["secret", "db_password"]),))
    plan = flow(
        connections=(connection,),
        triggers=(webhook("hook", "/orders"),),
        vars=(VarDef(name="rate", type=INTEGER, default=["lit", 3]),),
    )
    found = built("shop", plan).manifest
    assert found.secrets == ("db_password", "hook")
    assert found.connections == (connection,)
    assert [(variable.name, variable.type, variable.default) for variable in found.variables] == [
        ("rate", INT, ["lit", 3])
    ]


def test_a_schedule_in_python_brings_along_the_plan_that_works_out_its_times() -> None:
    custom = CustomSource(target="calendar:trading_days")
    trigger = TriggerDef(name="days", source=AnySource(sources=(AtSource(at_ms=(5,)), custom)))
    found = built("shop", flow(triggers=(trigger,)), code=b"code")
    (deployed,) = found.manifest.flows
    assert list(deployed.schedules) == ["days/1"]
    schedule = decode(found.blobs[deployed.schedules["days/1"]])
    assert schedule.code == found.manifest.code
    assert plans_of(found.manifest) == {deployed.plan, deployed.schedules["days/1"]}


def test_a_literal_is_no_secret() -> None:
    connection = ConnectionDef(name="db", kind="sqlite", fields=(("path", ["lit", ["secret", "x"]]),))
    assert built("shop", flow(connections=(connection,))).manifest.secrets == ()


def test_types_are_kept_where_triggers_need_them() -> None:
    assert built("shop", flow()).manifest.flows[0].types == ()
    assert built("shop", flow(triggers=(webhook("hook", "/x"),))).manifest.flows[0].types != ()


def test_a_newer_or_damaged_manifest_is_refused_with_a_reason() -> None:
    newer = msgspec.structs.replace(built("shop", flow()).manifest, format=2)
    with pytest.raises(ManifestError, match="format 2, and this version reads up to 1"):
        decode_manifest(encode_manifest(newer))
    for data in (b"", b"\xff", encode_manifest(Manifest(project="shop", flows=()))[:-1]):
        with pytest.raises(ManifestError, match="damaged"):
            decode_manifest(data)
    with pytest.raises(ManifestError, match="damaged"):
        decode_history(b"\xc1")
