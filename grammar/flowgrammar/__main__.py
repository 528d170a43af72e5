"""Writes the LALR tables anew after a change of the grammar: `python -m flowgrammar`."""

from __future__ import annotations

from pathlib import Path

from .tables import TABLES_FILE, build, encode, grammar_text


def main() -> None:
    target = Path(__file__).with_name(TABLES_FILE)
    target.write_bytes(encode(build(grammar_text())))
    print(f"wrote {target.name}")


if __name__ == "__main__":
    main()
