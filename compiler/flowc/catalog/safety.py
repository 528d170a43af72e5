"""Findings: reliability and security."""

from __future__ import annotations

from . import Entry

__all__ = ["ENTRIES"]

ENTRIES: tuple[Entry, ...] = (
    Entry(
        code="FL0801",
        name="secret-leak",
        message="a secret cannot be used here: {what}",
        help='pass it to a parameter of type `secret<T>`, or put `secret("key")` into a field of a connection',
        explanation="Only the worker reads secrets, at the moment it runs the step. A secret never reaches a "
        "message, a log, a result, a text or a command line.",
        bad='task show(text: string) returns string { run: shell("echo ${text}") }\n\n'
        'flow main returns string { return show("token ${secret("api_key")}") }\n',
        good='task show(text: string) returns string { run: shell("echo ${text}") }\n\n'
        'connection api: http { token: secret("api_key") }\n\n'
        'task query(text: string) returns string { run: shell("echo ${text}"), uses: [api] }\n\n'
        'flow main returns string { return show("no token here") -> query }\n',
    ),
    Entry(
        code="FL0802",
        name="quoted-interpolation",
        message="{value} stands inside quotes of the text",
        help="{hint}",
        explanation="Values are made safe where they are put in: a shell gets them quoted, a database as parameters. "
        "Inside quotes of the text that would be done twice: the inner quotes end the outer ones, and what the value "
        "holds could be run as a command.",
        bad="task show(name: string) returns string { run: shell(\"echo 'dear ${name}'\") }\n\n"
        'flow main returns string { return show("you") }\n',
        good='task show(name: string) returns string { run: shell("echo dear ${name}") }\n\n'
        'flow main returns string { return show("you") }\n',
    ),
    Entry(
        code="FL0803",
        name="secret-literal",
        message="a secret is written out here",
        help='name it: `secret("key")` is read by the worker, from FLOW_SECRET_KEY or a store of secrets',
        explanation="What stands in a file is in its history, in the plan and in every copy of both. A secret is named "
        "in the file, and only the worker that runs the step reads it.",
        bad='use std.http { get_json }\n\nflow main returns json {\n  return get_json("https://x", token: "abc")\n}\n',
        good="use std.http { get_json }\n\n"
        'flow main returns json {\n  return get_json("https://api", token: secret("api"))\n}\n',
    ),
)
