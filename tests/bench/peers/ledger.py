"""The ledger that tasks write when they begin and end: `b` or `e`, number, time of day, process."""

import time
from dataclasses import dataclass


@dataclass
class Line:
    what: str
    id: int
    time: float
    pid: int


class Ledger:
    """The ledger file; each read returns only new lines."""

    def __init__(self, path):
        self.path = path
        self.known = []
        self.read_to = 0
        path.touch()
        # Guests and workers may run as another user.
        path.chmod(0o666)

    def lines(self):
        with self.path.open("rb") as file:
            file.seek(self.read_to)
            new = file.read()
        # The last line may be incomplete.
        whole = new[: new.rfind(b"\n") + 1]
        self.read_to += len(whole)
        for line in whole.decode().splitlines():
            what, id, moment, pid = line.split()
            self.known.append(Line(what, int(id), float(moment), int(pid)))
        return self.known

    def overlap(self):
        """Returns the maximum number of concurrent tasks."""
        moves = sorted((line.time, 1 if line.what == "b" else -1) for line in self.lines())
        now = most = 0
        for _, step in moves:
            now += step
            most = max(most, now)
        return most

    def wait(self, fits, seconds):
        """Waits until the ledger meets a condition; False on timeout."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if fits(self.lines()):
                return True
            time.sleep(0.02)
        return False
