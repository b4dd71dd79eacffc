"""The client of Celery: answers each line of JSON on stdin with one on stdout, and ends with stdin."""

import json
import os
import sys
import threading
import time

import redis
from tasks import app, work

broker = redis.Redis(port=int(os.environ["REDIS_PORT"]))


def left():
    """What is in the queue, and what workers have taken and not acknowledged."""
    return broker.llen("celery") + broker.hlen("unacked")


def until(below, **_):
    while (now := left()) >= below:
        time.sleep(0.01)
    return {"left": now, "time": time.time()}


def submit(kind, count, ms=0, first=0):
    """Celery has no call for many tasks; these go over one connection, one after another."""
    with app.producer_pool.acquire(block=True) as producer:
        for id in range(first, first + count):
            work.apply_async((kind, id, ms), task_id=f"t{id}" if kind != "noop" else None, producer=producer)


def singles(callers, seconds):
    start = time.monotonic()
    counts = []

    def caller():
        count = 0
        with app.producer_pool.acquire(block=True) as producer:
            while time.monotonic() - start < seconds:
                work.apply_async(("noop",), producer=producer)
                count += 1
        counts.append(count)

    # More threads than this share one interpreter and are no faster.
    threads = [threading.Thread(target=caller) for _ in range(min(callers, 8))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    submitted = time.monotonic()
    until(1)
    return {"count": sum(counts), "submit_s": submitted - start, "done_s": time.monotonic() - start}


def cancel(id):
    app.control.revoke(f"t{id}", terminate=True)


def reset():
    broker.flushall()


OPERATIONS = {f.__name__: f for f in (until, submit, singles, cancel, reset)}


def main():
    print('{"ready": true}', flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        try:
            answer = OPERATIONS[order.pop("op")](**order) or {}
        except Exception as error:
            answer = {"error": repr(error)}
        print(json.dumps(answer), flush=True)


main()
