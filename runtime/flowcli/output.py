"""What the commands print. A reader that has gone (`| head -1`) is no reason to stop a run: the rest is not shown."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import click
from flowrun.errors import FlowError

from .errors import EXIT_INPUT, InputError

__all__ = ["open_standard_files", "run_command", "say"]


def say(text: str | bytes, *, err: bool = False) -> None:
    """Prints a text and a line break, to standard error if `err`. Raises InputError if standard output is full."""
    try:
        click.echo(text, err=err)
    except OSError as error:
        _silence(2 if err else 1)  # what is buffered would fail once more
        if not err and not isinstance(error, BrokenPipeError):
            message = f"standard output cannot be written: {error.strerror}"
            raise InputError(message, help="make room, or send it elsewhere") from error


def run_command(work: Callable[[], int], as_json: bool) -> int:
    """The exit code of a command's work; what is wrong with its input, or with the server, goes out as JSON if that was
    asked for. Raises InputError."""
    try:
        try:
            return work()
        except FlowError as error:
            raise InputError(str(error)) from error
    except InputError as error:
        if not as_json:
            raise
        say(error.as_json())
        return EXIT_INPUT


def open_standard_files() -> None:
    """Opens those that whoever started this process had closed (`>&-`): the next file would take their numbers."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)  # the lowest free number
            setattr(sys, name, os.fdopen(descriptor, "w" if number else "r", encoding="utf-8"))
            os.set_inheritable(descriptor, True)


def _silence(descriptor: int) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
