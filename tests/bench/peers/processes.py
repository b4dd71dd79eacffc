"""Processes of the driver: controlled by lines of JSON, measured with all their children, ended by process id."""

import json
import os
import select
import signal
import socket
import subprocess
import time
from pathlib import Path

from places import Unavailable

# Time limit for one command of a peer, so that the run always ends.
PATIENCE_S = 90

TICKS = os.sysconf("SC_CLK_TCK")


def free_port():
    """Returns a free loopback port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def descendants(pid):
    """Returns a process and all its descendants."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                # The name in parentheses may contain anything.
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                pass
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def memory(pid):
    """Returns resident and proportional memory of a process and its children, in MiB."""
    rss = pss = 0
    for one in descendants(pid):
        try:
            for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
                name, _, rest = line.partition(":")
                if name == "Rss":
                    rss += int(rest.split()[0])
                elif name == "Pss":
                    pss += int(rest.split()[0])
        except (OSError, ProcessLookupError):
            pass
    return rss / 1024, pss / 1024


def computed(pid):
    """Returns the CPU seconds of a process and its children."""
    ticks = 0
    for one in descendants(pid):
        try:
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        except OSError:
            pass
    return ticks / TICKS


def alive(pid):
    """Returns whether a process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Program:
    """A process with its own log; `ask` sends a command and waits for the response."""

    def __init__(self, words, log, environment=None, cwd=None, waits=True, **options):
        self.words = [str(word) for word in words]
        self.log = Path(log)
        self.process = subprocess.Popen(
            self.words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=open(self.log, "ab"),
            env=environment,
            cwd=cwd,
            # A process group of its own, so that Ctrl-C ends only the driver, which then stops the others.
            start_new_session=True,
            **options,
        )
        self.unread = b""
        if waits:
            try:
                self.read(60, lambda answer: "ready" in answer)
            except Exception:
                self.kill()
                raise

    @property
    def pid(self):
        return self.process.pid

    def ask(self, op, patience=PATIENCE_S, **order):
        """Sends a command and returns the response."""
        self.process.stdin.write(json.dumps({"op": op, **order}).encode() + b"\n")
        self.process.stdin.flush()
        answer = self.read(patience, lambda answer: True)
        if "error" in answer:
            raise Unavailable(f"{op}: {answer['error']}")
        return answer

    def read(self, seconds, fits):
        """Returns the next matching line of JSON on stdout."""
        until = time.monotonic() + seconds
        while True:
            while b"\n" in self.unread:
                line, _, self.unread = self.unread.partition(b"\n")
                try:
                    answer = json.loads(line)
                except ValueError:
                    continue
                if isinstance(answer, dict) and fits(answer):
                    return answer
            left = until - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                raise TimeoutError(f"{self.words[0]} said nothing for {seconds} s")
            more = os.read(self.process.stdout.fileno(), 1 << 16)
            if not more:
                raise Unavailable(f"{' '.join(self.words[:3])} ended: {self.log_tail()}")
            self.unread += more

    def log_tail(self):
        """Returns the end of its log."""
        return " / ".join(self.log.read_text(errors="replace").strip().splitlines()[-4:])

    def kill(self):
        """Kills the process and all its children, like kill -9."""
        # Stopped first, so that no child is created during the count.
        for one in descendants(self.pid):
            send(one, signal.SIGSTOP)
        for one in descendants(self.pid):
            send(one, signal.SIGKILL)
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def stop(self, with_signal=signal.SIGTERM):
        """Asks the process to end, and kills it if it does not."""
        send(self.pid, with_signal)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            pass
        self.kill()


def send(pid, what):
    try:
        os.kill(pid, what)
    except ProcessLookupError:
        pass
