"""What clients were answered is remembered: an event that comes again is answered as before."""

from __future__ import annotations

from flowrun.engine.answers import Answers
from flowrun.engine.commands import Answer
from flowrun.messages import Signal


def signal(id: str, client: str = "c") -> Signal:
    return Signal("r", "go", b"\x01", id, client)


def test_a_new_event_was_not_answered() -> None:
    assert Answers().again(signal("a")) is None


def test_the_same_event_gets_the_same_answer_also_for_another_mailbox() -> None:
    answers = Answers()
    assert answers.give(signal("a"), 1_000, False, "no such run") == Answer("c", "a", False, "no such run")
    assert answers.again(signal("a", "d")) == Answer("d", "a", False, "no such run")


def test_an_event_without_an_id_is_always_new() -> None:
    answers = Answers()
    answers.give(signal(""), 1_000, True)
    assert answers.again(signal("")) is None


def test_answers_are_forgotten_after_a_minute() -> None:
    answers = Answers()
    answers.give(signal("a"), 1_000, True)
    answers.give(signal("b"), 61_000, True)
    assert answers.again(signal("a")) is not None
    answers.give(signal("c"), 61_001, True)
    assert answers.again(signal("a")) is None
    assert answers.again(signal("b")) is not None


def test_most_answers_are_short() -> None:
    answers = Answers()
    answers.give(signal("a"), 1_000, True)
    assert answers.again(signal("a", "d")) == Answer("d", "a", True)
    assert answers.pack() == b"\x81\xa1a\xcd\x03\xe8"


def test_they_survive_a_snapshot() -> None:
    answers, restored = Answers(), Answers()
    answers.give(signal("a"), 1_000, True, "kept", b"\x05")
    restored.restore(answers.pack())
    assert restored.again(signal("a")) == Answer("c", "a", True, "kept", b"\x05")
    assert restored.pack() == answers.pack()
