"""Where a team would call its chat."""

from pathlib import Path


def tell(channel: str, text: str) -> None:
    Path("out").mkdir(exist_ok=True)
    with Path("out/messages.log").open("a") as file:
        file.write(f"{channel} {text}\n")
