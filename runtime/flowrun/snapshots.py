"""Snapshots of a partition's state: how a new leader gets there without reading all of the past.

A snapshot at N is the state after the inbox's message N. It is a list of *segments* in the blob store behind a pointer,
an entry that is changed by compare-and-set. A segment holds the parts of the state (packed runs, mostly) that changed
since the snapshot before; a part that went is there as empty bytes. Reading the segments in order, later ones win. When
they hold twice as much as lives, all that lives is written into a new one, and so it is before blobs could be
collected as too old: then everything that living runs refer to is put again, too.

When the pointer has moved, the inbox is purged below N. Message N stays: its digest is in the pointer. If it is not the
message that stands there now, or the inbox is another one, then the server lost or restored its store, and the
partition begins a new *incarnation*: it keeps what the snapshot has, and goes on with what the inbox has.

What an event up to N asked for is done, or in the snapshot: blobs are stored before, what is on its way to other
partitions is part of it, work and timers follow from the state, and a run is part of the state until its record is
stored.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterable

import msgspec
import zstandard
from flowc.plan import digest

from .dispatched import HandedBack
from .errors import Conflict, Fenced, StoreError
from .messages import RunRecord
from .transport import Entry, Transport

__all__ = ["Manifest", "Segment", "Sent", "Snapshot", "Snapshots", "renewals", "snapshot_key"]

log = logging.getLogger("flow.snapshots")

#: version of the manifest and the segments
FORMAT = 1
#: a segment of more bytes is cut; a larger one is compressed beside the event loop; no segment unpacks to more
_SEGMENT_BYTES, _THREAD_BYTES, _MOST_BYTES = 16 * 1024 * 1024, 256 * 1024, 256 * 1024 * 1024
#: segments are joined when they hold so many times what lives, or are more than this
_GARBAGE, _MOST_SEGMENTS = 2, 64
#: how a reference to a blob looks in packed state (see `wire`)
_REFERENCE = re.compile(rb"\x01\x94\xd9\x20([0-9a-f]{32})")
#: blobs that are put again at the same time
_RENEWALS = 4


class Segment(msgspec.Struct, frozen=True, array_like=True):
    """Parts of the state, in the blob store."""

    digest: str
    parts: int
    #: before it was compressed
    size: int


class Manifest(msgspec.Struct, frozen=True, array_like=True):
    """What the pointer says."""

    format: int
    #: version of the rules of `decide`
    rules: int
    #: the inbox's message that it is the state after, its digest, and when the inbox was made
    seq: int
    digest: str
    created: str
    #: the state's clock, milliseconds since 1970
    time_ms: int
    #: when all that living runs refer to was put last, milliseconds since 1970
    renewed_ms: int
    #: in their order
    segments: tuple[Segment, ...]
    #: what is no part of its own, in the blob store
    rest: str
    #: grows when the store was lost or restored
    incarnation: int = 1
    #: an older one, which was certainly on the disk when this was written: what is in the inbox goes back to it
    fallback: Manifest | None = None


class Sent(msgspec.Struct, frozen=True, array_like=True):
    """An event on its way to another partition."""

    partition: str
    id: str
    #: as an inbox's message has it
    data: bytes


class _Rest(msgspec.Struct, frozen=True, array_like=True):
    """What is written anew with each snapshot."""

    #: the engine's
    engine: bytes
    #: what is on its way to other partitions
    sends: tuple[Sent, ...]
    #: records of runs that the engine failed on, not yet stored
    broken: tuple[RunRecord, ...]
    #: what workers handed back of bundles that they still work on, by bundle
    handed_back: dict[str, HandedBack]


class Snapshot(msgspec.Struct, frozen=True):
    """The state after a message of the inbox, to be written or as it was read."""

    rules: int
    seq: int
    #: of message `seq`, and when its inbox was made
    digest: str
    created: str
    time_ms: int
    #: all of it, or what changed since the last one: (name, bytes); b"": it is no more
    parts: list[tuple[str, bytes]]
    full: bool
    #: parts that live
    living: int
    engine: bytes
    sends: tuple[Sent, ...]
    broken: tuple[RunRecord, ...]
    handed_back: dict[str, HandedBack]
    #: plans of living runs, and code that is due to be put again; only if it is full
    plans: frozenset[str] = frozenset()


_manifest_decoder = msgspec.msgpack.Decoder(Manifest)
_rest_decoder = msgspec.msgpack.Decoder(_Rest)
_segment_decoder = msgspec.msgpack.Decoder(list[tuple[str, bytes]])
_encoder = msgspec.msgpack.Encoder()


def snapshot_key(partition: str) -> str:
    return f"snapshot.{partition}"


class Snapshots:
    """The snapshots of one partition. `read` first. `lag`: how long a server may take to bring to its disk what it
    acknowledged, in seconds; events that it might still need after a loss of power stay in the inbox."""

    def __init__(self, transport: Transport, partition: str, lag: float) -> None:
        self._transport, self._partition, self._lag_ms = transport, partition, lag * 1000
        self._revision = 0
        #: the last one, and those before it back to the fallback
        self._manifests: list[Manifest] = []
        #: grows when the inbox was lost or restored
        self.incarnation = 1

    # ---- reading

    async def read(self) -> Snapshot | None:
        """The last snapshot that can be read; None if there is none. Raises StoreError if a newer version wrote it:
        this node must not lead the partition then."""
        entry = await self._transport.read_entry(snapshot_key(self._partition))
        if entry is None:
            return None
        self._revision = entry.revision
        if not entry.data:
            return None
        last = _manifest(entry)
        self.incarnation = last.incarnation
        for manifest in (last, last.fallback):
            try:
                found = await self._read(manifest) if manifest else None
            except (StoreError, zstandard.ZstdError, msgspec.DecodeError) as error:
                log.error("a snapshot of partition %s cannot be read: %s", self._partition, error)
                continue
            if manifest is not None:
                self._manifests = [manifest]
                return found
        log.error("runs of partition %s are lost: no snapshot of it can be read", self._partition)
        return None

    async def _read(self, manifest: Manifest) -> Snapshot:
        rest = _rest_decoder.decode(await self._blob(manifest.rest))
        parts: dict[str, bytes] = {}
        for segment in manifest.segments:
            for name, data in _segment_decoder.decode(await self._blob(segment.digest)):
                if data:
                    parts[name] = data
                else:
                    parts.pop(name, None)
        return Snapshot(
            rules=manifest.rules, seq=manifest.seq, digest=manifest.digest, created=manifest.created,
            time_ms=manifest.time_ms, parts=list(parts.items()), full=True, living=len(parts), engine=rest.engine,
            sends=rest.sends, broken=rest.broken, handed_back=rest.handed_back,
        )  # fmt: skip

    async def _blob(self, name: str) -> bytes:
        data = await self._transport.get_blob(name)
        return zstandard.ZstdDecompressor().decompress(data, max_output_size=_MOST_BYTES)

    # ---- writing

    def wants_full(self, living: int, now_ms: int, renewal: float) -> bool:
        """All that lives must be written: the segments hold much that is outdated, or are old. `renewal`: seconds."""
        if not self._manifests:
            return True
        manifest = self._manifests[-1]
        held = sum(segment.parts for segment in manifest.segments)
        old = now_ms - manifest.renewed_ms > renewal * 1000
        return old or held > _GARBAGE * living + 1_000 or len(manifest.segments) >= _MOST_SEGMENTS

    async def write(self, snapshot: Snapshot) -> None:
        """Stores it, moves the pointer, purges the inbox behind it. Raises StoreError (the last one stands then), and
        Fenced (another one leads)."""
        old = self._manifests[-1] if self._manifests else None
        segments = () if snapshot.full or old is None else old.segments
        written = [await self._write_segment(parts) for parts in _cut(snapshot.parts)]
        rest = _Rest(snapshot.engine, snapshot.sends, snapshot.broken, snapshot.handed_back)
        if snapshot.full:
            await self._renew(snapshot)
        manifest = Manifest(
            format=FORMAT,
            rules=snapshot.rules,
            seq=snapshot.seq,
            digest=snapshot.digest,
            created=snapshot.created,
            time_ms=snapshot.time_ms,
            renewed_ms=snapshot.time_ms if snapshot.full or old is None else old.renewed_ms,
            segments=(*segments, *written),
            rest=await self._write_blob(_encoder.encode(rest)),
            incarnation=self.incarnation,
            fallback=self._fallback(snapshot),
        )
        await self._point(manifest)
        self._manifests.append(manifest)
        if manifest.fallback is not None:
            await self._transport.purge_inbox(self._partition, manifest.fallback.seq)

    def _fallback(self, snapshot: Snapshot) -> Manifest | None:
        """The last snapshot that is old enough; those before it are forgotten."""
        safe_ms = snapshot.time_ms - self._lag_ms
        while len(self._manifests) > 1 and self._manifests[1].time_ms <= safe_ms:
            del self._manifests[0]
        found = self._manifests[0] if self._manifests else None
        if found is None or found.time_ms > safe_ms or found.created != snapshot.created:
            return None
        return msgspec.structs.replace(found, fallback=None)

    async def _point(self, manifest: Manifest) -> None:
        key, data = snapshot_key(self._partition), _encoder.encode(manifest)
        try:
            self._revision = await self._transport.write_entry(key, data, self._revision)
        except Conflict:
            entry = await self._transport.read_entry(key)
            if entry is None or entry.data != data:  # else only the answer to our own write was lost
                raise Fenced(f"another node writes snapshots of partition {self._partition}") from None
            self._revision = entry.revision

    async def _write_segment(self, parts: list[tuple[str, bytes]]) -> Segment:
        data = _encoder.encode(parts)
        return Segment(await self._write_blob(data), len(parts), len(data))

    async def _write_blob(self, data: bytes) -> str:
        large = len(data) > _THREAD_BYTES
        small = await asyncio.to_thread(_compressed, data) if large else _compressed(data)
        name = digest(small)
        await self._transport.put_blob(name, small)
        return name

    async def _renew(self, snapshot: Snapshot) -> None:
        """Puts again what living runs refer to. What is lost is told, and no reason to have no snapshot."""
        limit = asyncio.Semaphore(_RENEWALS)

        async def renew(name: str) -> None:
            async with limit:
                try:
                    data = await self._transport.get_blob(name)
                except StoreError as error:
                    log.warning("a run of partition %s refers to what is lost: %s", self._partition, error)
                    return
                await self._transport.put_blob(name, data)
            await renew_all(_references([data]))

        seen: set[str] = set()

        async def renew_all(names: Iterable[str]) -> None:
            new = sorted(set(names) - seen)
            seen.update(new)
            await asyncio.gather(*(renew(name) for name in new))

        await renew_all(snapshot.plans | _references(data for _, data in snapshot.parts))


async def renewals(transport: Transport) -> list[int]:
    """When each partition put again what its runs refer to, milliseconds since 1970. Raises TransportError, and
    StoreError if one of them cannot be read."""
    return [_manifest(entry).renewed_ms for entry in await transport.entries("snapshot") if entry.data]


def _manifest(entry: Entry) -> Manifest:
    try:
        manifest = _manifest_decoder.decode(entry.data)
    except msgspec.DecodeError as error:
        raise StoreError(
            f"the entry `{entry.key}` cannot be read ({error}): a newer version may have written it"
        ) from error
    if manifest.format > FORMAT:
        raise StoreError(
            f"the snapshot `{entry.key}` has format {manifest.format}, and this version reads up to {FORMAT}: "
            "upgrade flowc on this node"
        )
    return manifest


def _references(parts: Iterable[bytes]) -> set[str]:
    """The digests of blobs that packed state, or a stored value, refers to."""
    return {match.decode() for data in parts for match in _REFERENCE.findall(data)}


def _cut(parts: list[tuple[str, bytes]]) -> Iterable[list[tuple[str, bytes]]]:
    """The parts in segments of a bounded size."""
    segment: list[tuple[str, bytes]] = []
    size = 0
    for name, data in parts:
        if size > _SEGMENT_BYTES:
            yield segment
            segment, size = [], 0
        segment.append((name, data))
        size += len(name) + len(data)
    if segment:
        yield segment


def _compressed(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=1).compress(data)
