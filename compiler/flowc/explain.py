"""`flowc explain CODE`: an entry of the catalogue as Markdown."""

from __future__ import annotations

from .catalog import Entry, by_code, by_name
from .suggest import did_you_mean

__all__ = ["explain"]


def explain(code: str) -> str:
    """The explanation of a finding, by its code (`FL0201`) or its name (`unknown-name`), as Markdown.

    Raises KeyError, whose first argument says what is wrong and what it was probably meant to be.
    """
    wanted = code.strip()
    entry = by_code().get(wanted.upper()) or by_name().get(wanted.lower())
    if entry is None:
        hint = did_you_mean(
            wanted, [*by_name(), *by_code()], "the codes look like `FL0201`, the names like `unknown-name`"
        )
        raise KeyError(f"there is no finding `{wanted}`: {hint}")
    return _page(entry)


def _page(entry: Entry) -> str:
    parts = [f"# {entry.code} {entry.name} ({entry.severity})", entry.explanation]
    if entry.bad:
        parts += ["This gives it:", _block(entry.bad)]
    if entry.good:
        parts += ["This does not:", _block(entry.good)]
    if entry.severity != "error":
        parts.append(f"Silence one place with `# flow: ignore[{entry.name}] reason` on its line or the line before.")
    return "\n\n".join(parts) + "\n"


def _block(text: str) -> str:
    return f"```flow\n{text.strip()}\n```"
