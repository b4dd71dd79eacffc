"""The measured peers: how each is started, and what its guarantees are called."""

import os
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import install
import servers
from ledger import Ledger
from places import HERE, benchmark, run
from processes import Program, alive, free_port


@dataclass
class Place:
    """The resources of one round of a peer."""

    folder: Path
    ledger: Path
    server: object

    def environment(self, **more):
        return {**os.environ, **self.server.environment, "LEDGER": str(self.ledger), **more}


class Peer:
    """A job runner: a worker that runs tasks, and a client that submits them."""

    name = label = isolation = durability = ""
    version = ""
    # Concurrency for tasks that do not wait.
    concurrency = 100
    # Concurrency tried where each sleeper occupies a worker slot.
    sleepers = (1_000, 10_000)
    drained = 20_000
    has_batches = True
    is_worker_server = False
    parts = ("singles", "batches", "drain", "sleep", "cancel", "kill")
    # Why there is no result for cancellation, if there is none.
    no_cancel = ""
    cancel_note = ""
    kill_note = ""

    def server(self, folder):
        return servers.NoServer(folder)

    def install(self):
        """Installs its dependencies and sets its version."""
        raise NotImplementedError

    def worker(self, place, concurrency, asleep=False):
        """Starts a worker and returns once it accepts tasks."""
        raise NotImplementedError

    def client(self, place):
        raise NotImplementedError

    def cancel(self, _worker, client, _place, id):
        """Cancels a task and returns the seconds until it stopped."""
        return client.ask("cancel", id=id, patience=10)["stopped_s"]


class Wasmill(Peer):
    name = label = "wasmill"
    label = "Wasmill"
    isolation = "a wasm instance per task"
    durability = "SQLite, synced"
    is_worker_server = True
    cancel_note = "DELETE over HTTP; 204 means the guest is gone"

    def install(self):
        self.binary, self.load = benchmark()
        self.version = run([self.binary, "--version"]).split()[-1]
        self.ports = {}

    def worker(self, place, concurrency, asleep=False):
        plugins = place.folder / "plugins"
        if not plugins.exists():
            plugins.mkdir()
            run([self.load, "load", "guests", plugins])
            rule = f'{{ host = "{place.ledger.parent}", guest = "/ledger", write = true }}'
            (plugins / "program.toml").write_text(f"[allow]\ndirs = [{rule}]\n")
            self.ports[place.folder] = free_port()
        words = [self.binary, "serve", "--listen", f"127.0.0.1:{self.ports[place.folder]}"]
        words += ["--data", place.folder / "data", "--plugins", plugins, "--log", "warn"]
        if asleep or concurrency < 100:
            words += ["--slots", concurrency]
        words += self.words(place)
        worker = Program(words, place.folder / "worker.log", place.environment(), waits=False, cwd=place.folder)
        servers.await_port(self.ports[place.folder], worker)
        return worker

    def words(self, _place):
        """Returns further words of the command line."""
        return []

    def client(self, place):
        words = [self.load, "load", "tasks", f"127.0.0.1:{self.ports[place.folder]}"]
        client = Program(words, place.folder / "client.log")
        client.ask("ready", patience=60)
        return client


class WasmillOnPostgres(Wasmill):
    name, label = "wasmill-postgres", "Wasmill on PostgreSQL"
    durability = "PostgreSQL, fsync on"

    def __init__(self):
        self.server = servers.Postgres

    def install(self):
        super().install()
        self.version += f", {servers.Postgres.version()}"

    def words(self, place):
        return ["--database", place.server.environment["PG_URL"], "--database-migrate"]


class Node(Peer):
    """A peer in JavaScript."""

    isolation = "none"
    script = ""
    package = ""

    def install(self):
        folder = install.node()
        self.program = folder / self.script
        output = run(["node", "-p", f"require('./node_modules/{self.package}/package.json').version"], cwd=folder)
        self.version = f"{output.strip()}, {self.stores()}, Node {run(['node', '--version']).strip()[1:]}"

    def stores(self):
        return servers.Redis.version() if "bullmq" in self.script else servers.Postgres.version()

    def more(self):
        return {}

    def worker(self, place, concurrency, asleep=False):
        words = ["node", self.program, "worker", concurrency]
        return Program(words, place.folder / "worker.log", place.environment(**self.more()))

    def client(self, place):
        return Program(["node", self.program, "load"], place.folder / "client.log", place.environment())


class BullMq(Node):
    script, package = "bullmq.mjs", "bullmq"
    cancel_note = "`cancelJob` in the process of the worker, and the function heeds its signal"

    def __init__(self, synced):
        self.name = "bullmq" if synced else "bullmq-default"
        self.label = "BullMQ" if synced else "BullMQ, Redis as Debian sets it"
        self.durability = "Redis AOF, appendfsync always" if synced else "Redis snapshots, minutes apart"
        self.server = partial(servers.Redis, synced=synced)
        if not synced:
            self.parts = ("singles", "batches", "drain")

    def cancel(self, worker, _client, _place, id):
        return worker.ask("cancel", id=id, patience=10)["stopped_s"]


class Graphile(Node):
    script, package = "graphile.mjs", "graphile-worker"
    durability = "PostgreSQL, fsync on"
    no_cancel = "nothing stops a job that runs"

    def __init__(self, batched):
        self.name = "graphile-batched" if batched else "graphile"
        self.label = "graphile-worker, local queue of 500, batched" if batched else "graphile-worker"
        self.batched = batched
        self.server = servers.Postgres
        if batched:
            self.parts = ("singles", "batches", "drain")
        else:
            self.concurrency = 20

    def more(self):
        return {"BATCHED": "1"} if self.batched else {}


class PgBoss(Node):
    name, label = "pgboss", "pg-boss"
    script, package = "pgboss.mjs", "pg-boss"
    durability = "PostgreSQL, fsync on"
    parts = ("singles", "batches", "drain", "sleep")
    no_cancel = "`cancel` marks the job; what runs goes on"

    def __init__(self):
        self.server = servers.Postgres


class Procrastinate(Peer):
    name, label = "procrastinate", "Procrastinate"
    isolation = "none"
    durability = "PostgreSQL, fsync on"
    drained = 10_000
    sleepers = (1_000,)
    no_cancel = "`cancel_job_by_id(abort=True)` cancels the future of the job, which a loop never notices"

    def __init__(self):
        self.server = servers.Postgres

    def install(self):
        self.python = install.python("procrastinate") / "python"
        words = [self.python, "-c", "import importlib.metadata as m; print(m.version('procrastinate'))"]
        self.version = f"{run(words).strip()}, {servers.Postgres.version()}"

    def start(self, place, words, log):
        return Program([self.python, HERE / "procrastinate/peer.py", *words], place.folder / log, place.environment())

    def worker(self, place, concurrency, asleep=False):
        return self.start(place, ["worker", concurrency], "worker.log")

    def client(self, place):
        return self.start(place, ["load"], "client.log")


class Celery(Peer):
    isolation = "a process, kept for many tasks"
    concurrency = 2
    drained = 3_000
    sleepers = (1_000,)
    has_batches = False
    cancel_note = "`revoke(terminate=True)`, which ends the process of the pool"

    def __init__(self, synced):
        self.name = "celery" if synced else "celery-default"
        self.label = "Celery, prefork" if synced else "Celery, Redis as Debian sets it"
        self.durability = "Redis AOF, appendfsync always" if synced else "Redis snapshots, minutes apart"
        self.server = partial(servers.Redis, synced=synced)
        self.parts = ("singles", "drain", "sleep", "cancel", "kill") if synced else ("singles", "drain")

    def install(self):
        self.bin = install.python("celery")
        output = run([self.bin / "celery", "--version"]).split()[0]
        self.version = f"{output}, {servers.Redis.version()}"

    def worker(self, place, concurrency, asleep=False):
        # A thousand processes for sleepers would take tens of GB; threads are the only pool without extra packages.
        pool = ["threads", "-c", concurrency] if asleep else ["prefork", "-c", min(concurrency, 10)]
        words = [self.bin / "celery", "-A", "tasks", "worker", "--without-gossip", "--without-mingle", "-l", "error", "-P"]
        environment = place.environment(PYTHONPATH=str(HERE / "celery"), C_FORCE_ROOT="1")
        return Program(words + pool, place.folder / "worker.log", environment, cwd=place.folder)

    def client(self, place):
        environment = place.environment(PYTHONPATH=str(HERE / "celery"))
        return Program([self.bin / "python", HERE / "celery/load.py"], place.folder / "client.log", environment)

    def cancel(self, _worker, client, place, id):
        pid = next(line.pid for line in Ledger(place.ledger).lines() if line.id == id)
        start = time.monotonic()
        client.ask("cancel", id=id)
        while alive(pid):
            if time.monotonic() - start > 10:
                raise TimeoutError
            time.sleep(0.001)
        return time.monotonic() - start


class Apalis(Peer):
    isolation = "none"
    drained = 10_000
    no_cancel = "a token in the process of the worker, for functions that ask for it"

    def __init__(self, synced):
        self.name = "apalis" if synced else "apalis-default"
        self.label = "apalis" if synced else "apalis, settings of its `setup`"
        self.durability = "SQLite, WAL, synchronous FULL" if synced else "SQLite, WAL, one connection of the pool unsynced"
        self.synced = synced
        if not synced:
            self.parts = ("singles", "batches", "drain")

    def install(self):
        self.program = install.apalis()
        self.version = "1.0.0, apalis-sqlite 1.0.0"

    def start(self, place, words, log):
        sync = "FULL" if self.synced else "setup"
        environment = place.environment(APALIS_DB=str(place.folder / "jobs.db"), APALIS_SYNC=sync)
        return Program([self.program, *words], place.folder / log, environment)

    def worker(self, place, concurrency, asleep=False):
        return self.start(place, ["worker", concurrency], "worker.log")

    def client(self, place):
        return self.start(place, ["load"], "client.log")


class WasmtimeServe(Peer):
    name, label = "wasmtime-serve", "`wasmtime serve`"
    isolation = "a wasm instance per request"
    durability = "none: a request is a task"
    is_worker_server = True
    sleepers = (1_000,)
    parts = ("singles", "sleep", "leave")
    kill_note = "nothing is stored: requests under way are lost"

    def install(self):
        self.program, self.guest = install.wasmtime(), install.serve_guest()
        _, self.load = benchmark()
        self.version = run([self.program, "--version"]).split()[1]
        self.ports = {}

    def worker(self, place, _concurrency, asleep=False):
        port = self.ports.setdefault(place.folder, free_port())
        words = [self.program, "serve", "-S", "cli", "--addr", f"127.0.0.1:{port}", self.guest]
        worker = Program(words, place.folder / "worker.log", place.environment(), waits=False)
        servers.await_port(port, worker)
        return worker

    def client(self, place):
        words = [self.load, "load", "served", f"127.0.0.1:{self.ports[place.folder]}"]
        return Program(words, place.folder / "client.log")


ALL = [
    Wasmill(),
    WasmillOnPostgres(),
    BullMq(synced=True),
    BullMq(synced=False),
    Celery(synced=True),
    Celery(synced=False),
    Graphile(batched=False),
    Graphile(batched=True),
    PgBoss(),
    Procrastinate(),
    Apalis(synced=True),
    Apalis(synced=False),
    WasmtimeServe(),
]
