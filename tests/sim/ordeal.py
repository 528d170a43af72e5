"""One random program in a world where processes die all the time: whatever happens, it ends as the interpreter says."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.reference.programs import Source, write_program

from .client import Submission, draw_submission
from .programs import compiled
from .trouble import Trouble
from .world import Ending, World, simulate

__all__ = ["ordeal", "source_of"]


def source_of(seed: int) -> Source:
    """The program of a seed. It counts no attempts, for crashes are attempts, too."""
    chance = random.Random(f"{seed} program")
    return write_program(chance.randint, most=chance.choice((2, 5, 9, 14)), counts=False)


def ordeal(seed: int, source: Source | None = None) -> Ending:
    """What comes of a seed's program, or of another one, in the world of that seed."""
    return simulate(_Ordeal(seed, source or source_of(seed)))


class _Deaths(Trouble):
    """Somebody dies in the first moments, and others soon after."""

    seconds = 6.0
    pause = (0.0, 0.8)
    disasters = 0.0

    def kinds(self) -> list[Callable[[], None]]:
        more = [self.kill, self.halt, self.cut, self.crash_server, self.stop]
        return [self.kill, self.kill, *self._chance.sample(more, self._chance.randint(0, len(more)))]


class _Ordeal(World):
    troubles = _Deaths

    def __init__(self, seed: int, source: Source) -> None:
        super().__init__(seed)
        self._source = source

    def draw_clients(self) -> Iterator[tuple[str, random.Random, list[Submission]]]:
        chance, name = random.Random(self.chance.random()), "client"
        submission = draw_submission(chance, name, 0, compiled(self._source))
        at, pause = chance.uniform(0.0, 1.0), chance.choice((0.0, 0.0, 0.5, 2.0))
        yield name, chance, [replace(submission, at=at, delay=0.0, expires=0.0, cancel=0.0, pause=pause)]
