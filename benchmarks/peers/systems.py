"""The systems that are measured: what each consists of, and the settings it runs with, as the report tells them."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SYSTEMS", "System"]

_TASKIQ = ("taskiq", "worker", "taskiq_peer:broker", "--workers", "2", "--no-parse", "--log-level", "WARNING")
_TASKIQ_SETTINGS = (
    "2 worker processes on uvloop, async tasks, --no-parse, orjson; results in Redis; "
    "20 calls at the same time; results are looked for every 20 ms (many) or 1 ms (one)"
)
_TASKIQ_PACKAGES = ("taskiq", "taskiq-redis", "taskiq-pipelines", "redis", "hiredis", "uvloop", "orjson")


@dataclass(frozen=True, kw_only=True)
class System:
    """One row of the table."""

    title: str
    #: the module with the tasks and jobs, beside this one
    module: str
    #: servers it needs
    servers: tuple[str, ...]
    #: the commands of its worker processes: programs of its virtual environment
    workers: tuple[tuple[str, ...], ...]
    settings: str
    #: packages whose versions are told
    packages: tuple[str, ...]
    #: further environment variables of workers and client
    env: tuple[tuple[str, str], ...] = ()
    #: it runs in this virtual environment and not in the peers'
    own: bool = False
    #: it is no product, but a mark to measure by
    floor: bool = False


def _huey(workers: str, count: int) -> System:
    return System(
        title=f"huey, Redis, {count} {'threads' if workers == 'thread' else 'processes'}",
        module="huey_peer",
        servers=("redis",),
        workers=(("huey_consumer", "huey_peer.huey", "-k", workers, "-w", str(count), "-q"),),
        settings=f"one consumer with -k {workers} -w {count}; notify_result, so that waiting clients are woken",
        packages=("huey", "redis", "hiredis"),
    )


SYSTEMS = {
    "flowc": System(
        title="flowc, NATS JetStream",
        module="flowc_peer",
        servers=("nats",),
        workers=(("python", "-m", "flowc_peer"),),
        settings="one node: a leader process with one partition, a worker with 2 slots in processes; plain functions; "
        "the chord is an `each` and a task; `chain` is on two queues in turn, so that its steps cannot be fused",
        packages=("flowc", "nats-py", "uvloop", "msgspec"),
        own=True,
    ),
    "celery": System(
        title="Celery, Redis",
        module="celery_peer",
        servers=("redis",),
        workers=(
            ("celery", "-A", "celery_peer", "worker", "-P", "prefork", "-c", "2", "-l", "WARNING",
             "--without-gossip", "--without-mingle", "--without-heartbeat"),
        ),
        settings="prefork, concurrency 2, prefetch multiplier 128, no events, gossip, mingle or heartbeats; "
        "results in Redis; chunks of 1,000",
        packages=("celery", "kombu", "billiard", "redis", "hiredis"),
    ),
    "taskiq-nats": System(
        title="taskiq, NATS JetStream",
        module="taskiq_peer",
        servers=("nats", "redis"),
        workers=(_TASKIQ,),
        settings=f"pull-based JetStream broker, 100 messages a pull; {_TASKIQ_SETTINGS}",
        packages=("taskiq-nats", "nats-py", *_TASKIQ_PACKAGES),
        env=(("PEER_BROKER", "nats"),),
    ),
    "taskiq-redis": System(
        title="taskiq, Redis",
        module="taskiq_peer",
        servers=("redis",),
        workers=(_TASKIQ,),
        settings=f"Redis stream broker (with acknowledgements); {_TASKIQ_SETTINGS}",
        packages=_TASKIQ_PACKAGES,
        env=(("PEER_BROKER", "redis"),),
    ),
    "huey-threads": _huey("thread", 4),
    "huey-processes": _huey("process", 2),
    "dramatiq": System(
        title="dramatiq, Redis",
        module="dramatiq_peer",
        servers=("redis",),
        workers=(("dramatiq", "dramatiq_peer", "--processes", "2", "--threads", "8"),),
        settings="2 processes of 8 threads, results in Redis; dramatiq_worker_timeout=1, so that an idle worker looks "
        "for messages every millisecond and not more and more seldom",
        packages=("dramatiq", "redis", "hiredis"),
        env=(("dramatiq_worker_timeout", "1"),),
    ),
    "floor": System(
        title="floor: the same messages, no engine",
        module="floor",
        servers=("nats",),
        workers=(("python", "-m", "floor", "coordinator"), ("python", "-m", "floor", "worker")),
        settings="one coordinator and one worker process, plain nats-py on uvloop; see benchmarks/floor.py",
        packages=("nats-py", "uvloop", "msgspec"),
        own=True,
        floor=True,
    ),
}  # fmt: skip
