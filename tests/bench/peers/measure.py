"""The five workloads of each peer and their measurements."""

import contextlib
import statistics
import tempfile
import threading
import time
from pathlib import Path

from contestants import Place
from ledger import Ledger
from places import Unavailable
from processes import computed, memory

CALLERS = 64
SUBMIT_S = 3
BATCHED = 10_000
SLEEP_MS = 1_000
SLEEP_PATIENCE_S = 60
CANCELS = 5
# Kill test: tasks, duration of each, concurrency, and completions before the worker is killed.
KILL_TASKS, KILL_MS, KILL_AT_ONCE, KILL_AFTER = 500, 100, 10, 150

FAILURES = (Unavailable, TimeoutError, OSError, StopIteration, KeyError, ValueError)


class Round(contextlib.ExitStack):
    """A server, a worker and a client in a fresh folder, all cleaned up at the end."""

    def __init__(self, peer):
        super().__init__()
        self.peer = peer
        folder = Path(self.enter_context(tempfile.TemporaryDirectory(prefix="wasmill-peers-")))
        folder.chmod(0o755)
        (folder / "ledger").mkdir()
        server_folder = folder / "server"
        server_folder.mkdir()
        self.ledger = Ledger(folder / "ledger/ledger")
        try:
            server = peer.server(server_folder)
            self.callback(server.stop)
            self.place = Place(folder, self.ledger.path, server)
        except BaseException:
            self.close()
            raise

    def worker(self, concurrency=None, **options):
        worker = self.peer.worker(self.place, concurrency or self.peer.concurrency, **options)
        self.callback(self.end, worker)
        return worker

    def client(self):
        client = self.peer.client(self.place)
        self.callback(self.end, client)
        return client

    def both(self, *arguments, **options):
        """Starts a worker and a client in the order that the peer needs."""
        if self.peer.is_worker_server:
            worker = self.worker(*arguments, **options)
            return worker, self.client()
        client = self.client()
        return self.worker(*arguments, **options), client

    @staticmethod
    def end(program):
        if program.process.poll() is None:
            program.kill()


def singles(peer):
    """No-ops submitted one by one from many callers, until all have finished: tasks per second."""
    with Round(peer) as round:
        _, client = round.both()
        client.ask("singles", callers=CALLERS, seconds=0.5)
        result = client.ask("singles", callers=CALLERS, seconds=SUBMIT_S)
        return result["count"] / result["done_s"]


def batches(peer):
    """No-ops submitted in batches, until all have finished: tasks per second."""
    with Round(peer) as round:
        _, client = round.both()
        client.ask("batches", count=1_000)
        result = client.ask("batches", count=BATCHED)
        return result["count"] / result["done_s"]


def drain(peer):
    """No-ops queued before the worker starts: tasks per second."""
    with Round(peer) as round:
        if peer.is_worker_server:
            _, client = round.both()
            client.ask("singles", callers=CALLERS, seconds=0.5)
            client.ask("hold")
            client.ask("submit", kind="noop", count=peer.drained)
            start = time.time()
            client.ask("release")
            return peer.drained / (client.ask("until", below=1)["time"] - start)
        client = round.client()
        client.ask("submit", kind="noop", count=peer.drained)
        round.worker()
        first = client.ask("until", below=peer.drained)
        last = client.ask("until", below=1)
        # The last two samples may coincide.
        return max(first["left"], 1) / max(last["time"] - first["time"], 0.01)


class Watch(threading.Thread):
    """Samples the memory of a process until stopped, and keeps the maximum."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.rss, self.pss, self.over = pid, 0, 0, threading.Event()
        self.start()

    def run(self):
        while not self.over.wait(0.25):
            rss, pss = memory(self.pid)
            if pss > self.pss:
                self.rss, self.pss = rss, pss

    def stop(self):
        self.over.set()
        self.join()


def sleep(peer, count):
    """Tasks that sleep for a second, submitted together: concurrency, duration and memory."""
    with Round(peer) as round:
        worker, client = round.both(count, asleep=True)
        time.sleep(0.5)
        base = memory(worker.pid)
        watch = Watch(worker.pid)
        start = time.time()
        if "leave" in peer.parts:
            result = client.ask("sleepers", count=count, ms=SLEEP_MS, patience=SLEEP_PATIENCE_S)
            seconds, overlap, done = result["done_s"], None, result["answered"]
        else:
            client.ask("submit", kind="sleep", count=count, ms=SLEEP_MS)
            round.ledger.wait(lambda lines: len(lines) >= 2 * count, SLEEP_PATIENCE_S)
            ends = [line.time for line in round.ledger.lines() if line.what == "e"]
            done, overlap = len(ends), round.ledger.overlap()
            seconds = max(ends, default=start) - start
        watch.stop()
        return {
            "count": count,
            "done": done,
            "seconds": seconds,
            "overlap": overlap,
            "base_pss": base[1],
            "rss": watch.rss,
            "pss": watch.pss,
        }


def cancel(peer, kind):
    """Seconds from the cancel of a running task to its end, or none if it does not stop."""
    with Round(peer) as round:
        worker, client = round.both(10)
        samples = []
        for id in range(CANCELS):
            client.ask("submit", kind=kind, count=1, ms=60_000, first=id)
            if not round.ledger.wait(lambda lines: any(line.id == id for line in lines), 20):
                raise TimeoutError(f"task {id} does not start")
            try:
                samples.append(peer.cancel(worker, client, round.place, id))
            except (TimeoutError, Unavailable):
                return None
        time.sleep(0.5)
        before = computed(worker.pid)
        time.sleep(0.5)
        if computed(worker.pid) - before > 0.25:
            return None
        return statistics.median(samples)


def leave(peer, path):
    """Seconds from a client hanging up until the server stops computing, or none."""
    with Round(peer) as round:
        worker, client = round.both()
        if client.ask("leave", path=path)["answered"]:
            raise Unavailable(f"{path} was answered")
        start = time.monotonic()
        while time.monotonic() - start < 10:
            before = computed(worker.pid)
            time.sleep(0.25)
            if computed(worker.pid) - before < 0.1:
                return time.monotonic() - start
        return None


class Kill:
    """A worker killed while running tasks and restarted; `result` waits for the tasks."""

    def __init__(self, peer):
        self.round = Round(peer)
        try:
            self.begin()
        except BaseException:
            self.round.close()
            raise

    def begin(self):
        round = self.round
        worker, client = round.both(KILL_AT_ONCE)
        client.ask("submit", kind="sleep", count=KILL_TASKS, ms=KILL_MS)
        if not round.ledger.wait(self.is_amid, 60):
            raise TimeoutError(f"{KILL_AFTER} tasks are not done after 60 s")
        worker.kill()
        self.at = time.time()
        lines = list(round.ledger.lines())
        ended = {line.id for line in lines if line.what == "e"}
        self.cut_off = {line.id for line in lines if line.what == "b"} - ended
        self.known = len(lines)
        round.worker(KILL_AT_ONCE)

    @staticmethod
    def is_amid(lines):
        """Enough tasks have finished, and at least half of the worker slots are busy."""
        ended = sum(line.what == "e" for line in lines)
        return ended >= KILL_AFTER and len(lines) - 2 * ended >= KILL_AT_ONCE / 2

    def result(self, patience_s):
        round = self.round
        with round:
            left = self.at + patience_s - time.time()
            done = lambda lines: len({line.id for line in lines if line.what == "e"}) >= KILL_TASKS
            round.ledger.wait(done, max(left, 0.1))
            lines = round.ledger.lines()
        ends = [line.id for line in lines if line.what == "e"]
        after = [line for line in lines[self.known :] if line.what == "b"]
        again = {line.id: line.time - self.at for line in reversed(after) if line.id in self.cut_off}
        return {
            "missing": KILL_TASKS - len(set(ends)),
            "twice": len(ends) - len(set(ends)),
            "first_s": min((line.time - self.at for line in after), default=None),
            "cut_off": len(self.cut_off),
            "again": len(again),
            "again_s": max(again.values()) if again else None,
            "patience_s": patience_s,
        }
