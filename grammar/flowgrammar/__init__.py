"""The .flow grammar as package data: `flow.lark`, and the LALR tables made from it, `flow.tables.json`.

Reading the tables takes some milliseconds, making them some hundreds, so they are kept beside the grammar:
`python -m flowgrammar` writes them anew after a change.
"""

from .tables import Rule, Tables, build, grammar_text, load

__all__ = ["Rule", "Tables", "build", "grammar_text", "load"]
