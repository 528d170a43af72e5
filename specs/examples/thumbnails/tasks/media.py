"""Photos as plain PGM files: an album is drawn by `list_photos`, so that the example needs no pictures."""

import shutil
from pathlib import Path
from typing import Any, TypedDict

OUT = Path("out")


class Photo(TypedDict):
    """A grey picture in a PGM file."""

    path: str
    width: int
    height: int


class Meta(TypedDict):
    """What is known of an album."""

    album: str
    camera: str
    source: str


class Report(TypedDict):
    """What was made of an album."""

    album: str
    camera: str
    small: int
    grid: int
    failed: int
    indexed: int


def fetch_meta(album: str) -> Meta:
    return Meta(album=album, camera=" ACME Snap ", source="")


def normalise(meta: Meta) -> Meta:
    return Meta(album=meta["album"], camera=meta["camera"].strip().lower(), source=meta["source"])


def enrich(meta: Meta, source: str) -> Meta:
    return Meta(album=meta["album"], camera=meta["camera"], source=source)


def virus_scan(album: str) -> bool:
    return "virus" not in album


def licence_check(album: str) -> bool:
    return bool(album)


def list_photos(album: str) -> list[Photo]:
    """Draws six photos of different sizes."""
    sizes = [(320, 240), (300, 200), (240, 320), (200, 200), (160, 120), (128, 256)]
    return [_write(OUT / album / f"{n}.pgm", w, h, _gradient(w, h, n)) for n, (w, h) in enumerate(sizes)]


def resize(photo: Photo, size: int) -> Photo:
    """The photo with its longer side of `size` pixels; each takes the value of the nearest one."""
    width, height, pixels = _read(photo["path"])
    scale = size / max(width, height)
    w, h = max(round(width * scale), 1), max(round(height * scale), 1)
    rows = [min(int(y / scale), height - 1) * width for y in range(h)]
    columns = [min(int(x / scale), width - 1) for x in range(w)]
    small = bytes(pixels[row + column] for row in rows for column in columns)
    source = Path(photo["path"])
    return _write(source.parent / str(size) / source.name, w, h, small)


def crop(photo: Photo) -> Photo:
    """The square in the middle."""
    width, height, pixels = _read(photo["path"])
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    square = b"".join(pixels[(top + y) * width + left :][:side] for y in range(side))
    return _write(Path(photo["path"]).with_suffix(".square.pgm"), side, side, square)


def index_batch(photos: list[Photo]) -> dict[str, int]:
    """The mean brightness of each photo, by path."""
    return {photo["path"]: _mean(_read(photo["path"])[2]) for photo in photos}


def merge_index(parts: list[dict[str, int]], album: str) -> dict[str, int]:
    return {path: mean for part in parts for path, mean in part.items() if album in path}


def build_report(meta: Meta, small: list[Photo], grid: list[Any], index: dict[str, int]) -> Report:
    """`grid` holds photos, and a Failure for each that could not be made."""
    made = [photo for photo in grid if "path" in photo]
    return Report(
        album=meta["album"],
        camera=meta["camera"],
        small=len(small),
        grid=len(made),
        failed=len(grid) - len(made),
        indexed=len(index),
    )


def purge(album: str) -> None:
    shutil.rmtree(OUT / album, ignore_errors=True)


def email(to: str, text: str) -> None:
    with (OUT / "mail.log").open("a") as file:
        file.write(f"{to}: {text}\n")


def _gradient(width: int, height: int, seed: int) -> bytes:
    return bytes((x * 3 + y * 2 + seed * 40) % 256 for y in range(height) for x in range(width))


def _mean(pixels: bytes) -> int:
    return sum(pixels) // max(len(pixels), 1)


def _read(path: str) -> tuple[int, int, bytes]:
    head, size, _, pixels = Path(path).read_bytes().split(b"\n", 3)
    if head != b"P5":
        raise ValueError(f"{path} is no PGM file")
    width, height = map(int, size.split())
    return width, height, pixels


def _write(path: Path, width: int, height: int, pixels: bytes) -> Photo:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"P5\n%d %d\n255\n" % (width, height) + pixels)
    return Photo(path=str(path), width=width, height=height)
