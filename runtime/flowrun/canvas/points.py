"""Where the parts of a canvas are found in the record of its run: by step, and by position in a group's list.

The tree has the shape of the canvas: `results` walks both together.
"""

from __future__ import annotations

import msgspec

__all__ = ["Point"]


class Point(msgspec.Struct, kw_only=True):
    """A part of a canvas."""

    #: the step whose value holds that of this part; "": the parts of it have values of their own
    step: str = ""
    #: the steps that it consists of
    steps: tuple[str, ...] = ()
    #: it is a group: of these members …
    members: tuple[Point, ...] | None = None
    #: … or of members that are all like this one, whose values are the items of the step's
    each: Point | None = None
    #: what stands before it in its chain
    parent: Point | None = None
    #: what is called with its result
    children: tuple[Point, ...] = ()
