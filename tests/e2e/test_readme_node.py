"""The README's section on nodes: a node is started with its line, and its other lines are run in another process."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import FLOWC, ROOT, Project

README = (ROOT / "README.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NAMED = re.compile(r"`(\w+\.py)`[^\n]*\n\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def section(title: str) -> str:
    return README.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


NODE = section("A node, and work from anywhere")
START, FIRST, SECOND = [body for language, body in _BLOCK.findall(NODE) if language == "sh"]


class Here(Project):
    url = ""

    def sh(self, lines: str) -> str:
        """What the lines print, each of which succeeds."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["sh", "-euc", lines], cwd=self.folder, capture_output=True, text=True, timeout=100,
            env=self.environment({"FLOW_NATS_URL": self.url, "PATH": path}),
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    here = Here(tmp_path_factory.mktemp("readme"))
    files = dict(_NAMED.findall(README))
    assert set(files) == {"tasks.py", "mail.py", "order.py", "program.py"}
    flows = [body for language, body in _BLOCK.findall(section("Sixty seconds")) if language == "flow"]
    for name, body in {**files, "hello.flow": flows[0]}.items():
        (here.folder / name).write_text(body)
    assert START == "flowc node\n"
    log = here.folder / "node.log"
    with log.open("w") as output:
        node = subprocess.Popen(  # on another port: this host may have a server on the usual one
            [FLOWC, "node", "--port", "0"], cwd=here.folder, env=here.environment(), stderr=output, process_group=0
        )
    try:
        until = time.monotonic() + 60
        while (found := re.search(r"listens on (\S+)", log.read_text())) is None:
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.05)
        here.url = found[1]
        yield here
    finally:
        os.kill(node.pid, signal.SIGTERM)
        assert node.wait(timeout=60) == 0


def test_commands_from_another_process(here: Here) -> None:
    out = here.sh(FIRST)
    assert '"HELLO ADA!"' in out
    assert ": delayed until" in out
    assert "asked for the end of run" in out
    assert "default 0/" in out


def test_programs(here: Here) -> None:
    lines = here.sh(SECOND).splitlines()
    assert any("mail:send" in line for line in lines)
    assert [line for line in lines if line.startswith("send | ")] == [
        f"send | copy {number} to ada@example.org" for number in range(1, 21)
    ]
    assert any("✓ send" in line for line in lines)
    assert lines[-3:] == [
        "sent to ada@example.org",
        "['sent to grace@example.org', 'sent to alan@example.org']",
        "['HELLO YOU!']",
    ]


# ---- the page on the client -----------------------------------------------------------------------------------------

PAGE = (ROOT / "specs/reference/12-client.md").read_text(encoding="utf-8")
_FENCE = re.compile(r"^```python ?(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


ASKED = """use std.human { approval }
use std.wait { event, signal }

signal review: { ok: bool }

flow asked() returns json {
  d = approval(group: "ops", show: { n: 1 })
  r = signal(review) after d
  p = event("paid", key: "4711") after r
  return [d.by, r.ok, p]
}
"""


def examples(kind: str) -> list[str]:
    return [body for found, body in _FENCE.findall(PAGE) if found == kind]


def test_the_page_on_the_client(here: Here) -> None:
    """Its blocks marked `client` are the inside of `async with Client.connect() as client`, one after the other."""
    [shop], parts = examples(""), examples("client")
    (here.folder / "shop.py").write_text(shop)
    flow = 'use "tasks.py" { greet }\n\nflow hello(name: string) returns string { return greet(name) }\n'
    (here.folder / "page.flow").write_text(flow)
    (here.folder / "asked.flow").write_text(ASKED)
    inside = textwrap.indent("\n".join(parts), " " * 8)
    program = (
        "import asyncio\nfrom flowrun import Client\nfrom shop import *\n\nasync def main():\n"
        f"    async with Client.connect() as client:\n{inside}\n\nasyncio.run(main())\n"
    )
    (here.folder / "page.py").write_text(program)
    (here.folder / "blocking.py").write_text(f"from shop import *\n{examples('sync')[0]}")
    compiled = "flowc compile page.flow; flowc compile asked.flow"
    lines = here.sh(f"{compiled}; python page.py; python blocking.py").splitlines()
    assert "hello you" in lines
    assert any("attempt " in line for line in lines)
