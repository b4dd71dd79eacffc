"""`make bench-peers`: runs the same workloads on Wasmill and its peers, one after another on this machine.

Results of named peers are only printed; a run of all peers also writes docs/explanation/peers.md. PEERS_REPEAT sets how often each
rate is measured (3, the median counts), PEERS_PATIENCE the time limit for the tasks of a killed worker (120 s).
"""

import json
import os
import signal
import statistics
import sys
import time

import measure
import table
from contestants import ALL
from places import CACHE, REPOSITORY, say


def main():
    # Stops all started processes however the driver ends.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    named = sys.argv[1:]
    unknown = set(named) - {peer.name for peer in ALL}
    if unknown:
        sys.exit(f"no peer is called {', '.join(sorted(unknown))}; there are " + ", ".join(peer.name for peer in ALL))
    chosen = [peer for peer in ALL if not named or peer.name in named]
    repeat = int(os.environ.get("PEERS_REPEAT", "3"))
    patience = float(os.environ.get("PEERS_PATIENCE", "120"))
    results = {peer.name: {"errors": []} for peer in chosen}
    ready = [peer for peer in chosen if attempt(results, peer, "install", peer.install)]
    began = time.monotonic()
    for peer in ready:
        say(f"[{time.monotonic() - began:4.0f} s] {peer.name}")
        rounds(peer, repeat, results)
    kills = []
    for peer in ready:
        if "kill" in peer.parts:
            say(f"[{time.monotonic() - began:4.0f} s] kill -9: {peer.name}")
            attempt(results, peer, "kill -9", lambda: kills.append((peer, measure.Kill(peer))))
    if kills:
        say(f"[{time.monotonic() - began:4.0f} s] waiting for what was cut off, at most {patience:.0f} s")
    for peer, kill in kills:
        attempt(results, peer, "kill", lambda: kill.result(patience))
    say(f"[{time.monotonic() - began:4.0f} s] done")
    CACHE.mkdir(parents=True, exist_ok=True)
    (CACHE / "results.json").write_text(json.dumps(results, indent=1))
    page = table.page(chosen, results, repeat)
    print(page)
    if not named:
        path = REPOSITORY / "docs/explanation/peers.md"
        path.write_text(page)
        say(f"written: {path.relative_to(REPOSITORY)}")
    if "wasmill" in results and results["wasmill"]["errors"]:
        sys.exit(1)


def rounds(peer, repeat, results):
    """Runs all parts except the kill test."""
    result = results[peer.name]
    for part in ("singles", "batches", "drain"):
        if part in peer.parts:
            samples = []
            for _ in range(repeat):
                if not attempt(results, peer, part, lambda: samples.append(getattr(measure, part)(peer))):
                    break
            if samples:
                result[part] = statistics.median(samples)
                result[f"{part}_samples"] = samples
    if "sleep" in peer.parts:
        for count in peer.sleepers:
            attempt(results, peer, f"sleep {count}", lambda: measure.sleep(peer, count))
    if "cancel" in peer.parts and not peer.no_cancel:
        for kind in ("sleep", "spin"):
            attempt(results, peer, f"cancel {kind}", lambda: {"stopped_s": measure.cancel(peer, kind)})
    if "leave" in peer.parts:
        attempt(results, peer, "cancel spin", lambda: {"stopped_s": measure.leave(peer, "/spin")})


def attempt(results, peer, part, work):
    """Runs one part and records its result or the reason for its failure; true on success."""
    try:
        result = work()
    except measure.FAILURES as error:
        message = (str(error) or type(error).__name__).splitlines()[0]
        why = message if message.startswith(part) else f"{part}: {message}"
        say(f"  {peer.name}: {why}")
        if why not in results[peer.name]["errors"]:
            results[peer.name]["errors"].append(why)
        return False
    if result is not None:
        results[peer.name][part] = result
    return True


main()
