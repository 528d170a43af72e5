"""All knobs of the runtime, with the values that hold when nobody says otherwise."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MINIMUM_SERVER", "Settings"]

#: the oldest nats-server that has what the runtime uses: major, minor
MINIMUM_SERVER = (2, 14)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a node talks to its message server, and how it paces work. Times are in seconds, sizes in bytes."""

    #: part of every subject and stream, so that `dev` and `prod` never meet on one server
    env: str = "dev"

    # ---- connection
    #: the first connection fails after this time
    connect_timeout: float = 3.0
    #: between two tries to reach a server that went away
    reconnect_wait: float = 0.25
    #: a request is repeated for this long before the server counts as lost
    patience: float = 30.0
    #: an answer that takes longer than this is asked for again
    answer_timeout: float = 3.0
    #: publishes that wait for the server's acknowledgement at the same time
    in_flight: int = 2_048

    # ---- partitions
    #: inboxes that deployed nodes share; told to the first node of an environment, and from then on fixed
    partitions: int = 8
    #: a leader that cannot renew its lease for this long stops, and another one takes over
    lease: float = 2.0
    #: a leader renews its lease as often as this
    lease_renewal: float = 0.5
    #: a snapshot is taken after so many events, or so many bytes of events, …
    snapshot_events: int = 100_000
    snapshot_bytes: int = 32 * 1024 * 1024
    #: … or after this time, if anything changed
    snapshot_interval: float = 30.0
    #: a server brings what it acknowledged to its disk within this time; events that it may lose stay in the inbox
    sync_lag: float = 130.0
    #: a run that nothing happened to for this long is kept packed
    freeze_after: float = 5.0
    #: an inbox that holds more than this refuses new submissions; results are always taken
    inbox_high_water: int = 4 * 1024 * 1024 * 1024
    #: an environment's workers say that they live as often as this, and count as gone after three times it
    presence: float = 1.0

    # ---- streams
    #: copies of every stream: 1, or 3 on a cluster
    replicas: int = 1
    #: the server syncs to disk what it acknowledges (`sync_interval: always`): so messages are written many at a time …
    durable: bool = False
    #: … if at least so many wait
    sync_together: int = 16
    #: a bundle whose worker is silent for this long goes to another worker
    ack_wait: float = 6.0
    #: bundles of one queue and partition that are handed out at the same time
    max_ack_pending: int = 10_000
    #: a message of another system whose reader is silent for this long is read again
    heard_wait: float = 10.0
    #: … and is kept for this long while nobody reads it
    keep_heard: float = 7 * 24 * 3600.0
    #: blobs travel in pieces of this size; a server's default limit for a message is 1 MiB
    blob_chunk: int = 512 * 1024

    #: a blob that was put within this time is not written again
    blob_renewal: float = 3600.0

    # ---- runs
    #: an ended run's record is kept for this long, and so is its idempotency key
    keep_results: float = 7 * 24 * 3600.0
    #: the id of an ended run is remembered for this long, so that a submission that is sent twice is one run; no client
    #: sends one again that late
    remember: float = 150.0
    #: what tasks wrote is kept for this long, and for so many bytes
    keep_logs: float = 7 * 24 * 3600.0
    log_bytes: int = 1024 * 1024 * 1024
    #: a record above this size is stored as a blob
    record_inline: int = 512 * 1024

    # ---- deployments
    #: public keys ("ed25519:…") of those whose deployments are accepted; empty: all are
    trusted: tuple[str, ...] = ()

    # ---- dispatch
    #: bundles per slot that stand in the work stream; the rest waits where cancellation still reaches it
    window_per_slot: int = 2
    #: a bundle aims at this much work
    bundle_seconds: float = 0.05
    #: most items of a bundle
    bundle_items: int = 500
    #: most bytes of a bundle
    bundle_bytes: int = 256 * 1024

    #: work that waits gains one level of priority over what comes this much later, in seconds
    aging: float = 60.0
    #: bundles that are out for this long are looked for in the work stream: the server may have lost them
    audit: float = 10.0
    #: workers that hold what is no longer wanted are told again as often as this
    revoke_again: float = 1.0

    # ---- live notes
    #: state notes of one run come at most this often
    note_interval: float = 0.1

    @property
    def blob_margin(self) -> float:
        """A blob may have been put so long before the event that refers to it: a client takes a plan for stored, and a
        store a blob for fresh, and clocks differ."""
        return 3 * self.blob_renewal
