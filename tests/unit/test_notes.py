"""Live notes are joined: the first at once, then a few per second."""

from __future__ import annotations

import asyncio

from flowrun.memory import run_virtual
from flowrun.messages import StateNote, StepNote
from flowrun.notes import Notes


def step(name: str, done: int = 0) -> StepNote:
    return StepNote(step=name, index=None, state="running", done=done)


def test_a_flood_becomes_a_few() -> None:
    async def main() -> None:
        sent: list[tuple[float, StateNote]] = []
        loop = asyncio.get_running_loop()
        notes = Notes(0.1, lambda note: sent.append((round(loop.time(), 3), note)))
        for i in range(100):
            notes.changed("r", (step("each", i),))
            notes.flush()
            await asyncio.sleep(0.0025)
        notes.changed("r", (step("each", 100),))
        await asyncio.sleep(1)
        assert [at for at, _ in sent] == [0, 0.1, 0.2, 0.3]
        assert sent[0][1] == StateNote(run="r", state="running", steps=(step("each", 0),))
        assert sent[-1][1] == StateNote(run="r", state="running", steps=(step("each", 100),))

    run_virtual(main())


def test_runs_are_told_apart_and_quiet_ones_not_at_all() -> None:
    async def main() -> None:
        sent: list[str] = []
        notes = Notes(0.1, lambda note: sent.append(note.run))
        notes.changed("a", (step("x"),))
        notes.flush()
        notes.changed("b", (step("x"),))
        notes.flush()
        await asyncio.sleep(1)
        notes.flush()
        assert sent == ["a", "b"]
        notes.changed("a", (step("y"),))
        notes.drop("a")
        notes.drop("c")
        notes.flush()
        await asyncio.sleep(1)
        assert sent == ["a", "b"]

    run_virtual(main())


def test_a_large_note_is_cut() -> None:
    async def main() -> None:
        sent: list[StateNote] = []
        notes = Notes(0.1, sent.append)
        notes.changed("r", tuple(step(f"s{i}") for i in range(2_500)))
        notes.flush()
        assert [len(note.steps) for note in sent] == [1_000, 1_000, 500]
        notes.stop()
        await asyncio.sleep(1)
        assert len(sent) == 3

    run_virtual(main())
