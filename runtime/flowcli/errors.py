"""What ends a command early: the input is wrong, or its surroundings are. Shown as one message, never a traceback."""

from __future__ import annotations

__all__ = ["EXIT_FAILED", "EXIT_INPUT", "EXIT_INTERNAL", "EXIT_INTERRUPTED", "EXIT_OK", "FindingsError", "InputError"]

EXIT_OK = 0
#: the run failed
EXIT_FAILED = 1
#: the input is wrong: a file, a parameter, a plan, a server that does not answer
EXIT_INPUT = 2
#: a bug in flowc itself
EXIT_INTERNAL = 70
EXIT_INTERRUPTED = 130


class InputError(Exception):
    """The command cannot do what it was asked for."""

    def __init__(self, message: str, *, place: str = "", help: str = "") -> None:
        super().__init__(message)
        self.message = message
        #: where: a file, "file:line", an option with its value
        self.place = place
        #: what to do
        self.help = help

    def text(self) -> str:
        """As it is shown: what is wrong, where, what to do."""
        lines = [f"error: {self.message}"]
        if self.place:
            lines.append(f"  --> {self.place}")
        if self.help:
            lines.append(f"  help: {self.help}")
        return "\n".join(lines)

    def as_json(self) -> str:
        """The ErrorReport of specs/schemas/run.schema.json."""
        import json  # `flowc --help` does not need it

        problem = {"message": self.message, "place": self.place or None, "help": self.help or None}
        return json.dumps({"error": problem}, ensure_ascii=False)


class FindingsError(InputError):
    """The sources have errors; the compiler's findings say which."""

    def __init__(self, text: str, report: str) -> None:
        super().__init__("the sources have errors")
        self._text, self._report = text, report

    def text(self) -> str:
        return self._text

    def as_json(self) -> str:
        return self._report
