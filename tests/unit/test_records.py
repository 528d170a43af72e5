"""Records and images, as they are stored."""

from __future__ import annotations

from flowc.plan import digest
from flowrun import records, values
from flowrun.compression import CompressionError, compressed, expanded
from flowrun.memory import MemoryServer, MemoryTransport, run_virtual
from flowrun.messages import RunRecord, pack
from hypothesis import given
from hypothesis import strategies as st

RECORD = RunRecord("r", "f", "success", b"\x05", None, None, 0, 1, ())


@given(st.binary(max_size=5_000))
def test_bytes_are_compressed_and_come_back(data: bytes) -> None:
    assert expanded(compressed(data)) == data
    assert expanded(compressed(data * 10)) == data * 10


def test_what_is_not_ours_is_refused() -> None:
    for data in (b"", b"\x07abc", b"\x01nonsense", b"\x01" + b"\x28\xb5\x2f\xfd" + bytes(3)):
        try:
            expanded(data)
        except CompressionError:
            continue
        raise AssertionError(data)


def test_a_small_image_is_stored_with_its_record() -> None:
    async def main() -> None:
        transport = MemoryTransport(MemoryServer())
        packed = pack(RECORD)
        await transport.put_results([("r", records.joined_form(packed, b"image"))], 60)
        stored = await transport.get_result("r")
        assert stored is not None
        assert records.packed_record(stored) == packed
        assert await records.read_record(transport, stored) == RECORD
        assert expanded(await records.read_image(transport, "r") or b"") == b"image"

    run_virtual(main())


def test_an_image_by_itself_and_one_that_is_a_blob() -> None:
    async def main() -> None:
        transport = MemoryTransport(MemoryServer())
        await transport.put_results([("r", pack(RECORD))], 60)
        assert await records.read_image(transport, "r") is None
        assert await records.read_image(transport, "other") is None
        for image in (b"image", bytes(range(256)) * 4_000):
            await transport.put_results([await records.stored_image(transport, "r", image, 1_000)], 60)
            assert expanded(await records.read_image(transport, "r") or b"") == image

    run_virtual(main())


def test_what_an_image_refers_to_is_put_again() -> None:
    async def main() -> None:
        transport = MemoryTransport(MemoryServer())
        inner = values.encode("x" * 100)
        outer = values.encode(["y"]) + b""
        names = {digest(inner): inner}
        nested = values.make_list([values.reference(values.Blob(digest(inner), len(inner))), outer])
        names[digest(nested)] = nested
        for name, data in names.items():
            await transport.put_blob(name, data)
        put: list[str] = []
        put_blob = transport.put_blob

        async def note(name: str, data: bytes) -> None:
            put.append(name)
            await put_blob(name, data)

        transport.put_blob = note  # type: ignore[method-assign]
        held = values.reference(values.Blob(digest(nested), len(nested)))
        gone = values.reference(values.Blob("0" * 32, 1))
        await records.renew_blobs(transport, "r", [held, gone], [digest(inner)])
        assert sorted(put) == sorted(names)

    run_virtual(main())
