"""Procrastinate: `python peer.py worker CONCURRENCY` or `python peer.py load`, on the PostgreSQL at PG_URL."""

import asyncio
import json
import os
import sys
import time

from procrastinate import App, PsycopgConnector

app = App(connector=PsycopgConnector(conninfo=os.environ["PG_URL"], min_size=4, max_size=20))

# Jobs that are not done, counted up to a number.
LEFT = """SELECT count(*) AS n FROM (
    SELECT 1 FROM procrastinate_jobs WHERE status IN ('todo', 'doing') LIMIT %(most)s) AS found"""


def note(what, id):
    """Appends a line by one write, so that it is there though the process is killed the moment after."""
    line = f"{what} {id} {time.time():.3f} {os.getpid()}\n".encode()
    ledger = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(ledger, line)
    finally:
        os.close(ledger)


@app.task(name="work")
async def work(kind, id=0, ms=0):
    """Does one task: nothing, or a sleep or a spin that the ledger sees begin and end."""
    if kind == "noop":
        return
    note("b", id)
    if kind == "spin":
        while True:
            pass
    await asyncio.sleep(ms / 1000)
    note("e", id)


async def until(below):
    while True:
        row = await app.connector.execute_query_one_async(LEFT, most=max(1, below))
        if row["n"] < below:
            return {"left": row["n"], "time": time.time()}
        await asyncio.sleep(0.01)


async def submit(kind, count, ms=0, first=0):
    for begin in range(first, first + count, 1_000):
        ids = range(begin, min(begin + 1_000, first + count))
        await work.batch_defer_async(*({"kind": kind, "id": id, "ms": ms} for id in ids))


async def singles(callers, seconds):
    """Submits no-ops one by one from many callers for some time, and waits until all are done."""
    start, count = time.monotonic(), 0

    async def caller():
        nonlocal count
        while time.monotonic() - start < seconds:
            count += 1
            await work.defer_async(kind="noop")

    await asyncio.gather(*(caller() for _ in range(callers)))
    submitted = time.monotonic()
    await until(1)
    return {"count": count, "submit_s": submitted - start, "done_s": time.monotonic() - start}


async def batches(count):
    """Submits no-ops a thousand at a time, and waits until all are done."""
    start = time.monotonic()
    await submit("noop", count)
    submitted = time.monotonic()
    await until(1)
    return {"count": count, "submit_s": submitted - start, "done_s": time.monotonic() - start}


OPERATIONS = {f.__name__: f for f in (until, submit, singles, batches)}


async def prepare():
    """Creates the tables, which worker and client both need, once."""
    if not await app.check_connection_async():
        await app.schema_manager.apply_schema_async()


async def load():
    async with app.open_async():
        await prepare()
        print('{"ready": true}', flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            order = json.loads(line)
            try:
                answer = await OPERATIONS[order.pop("op")](**order) or {}
            except Exception as error:
                answer = {"error": repr(error)}
            print(json.dumps(answer), flush=True)


async def serve(concurrency):
    async with app.open_async():
        await prepare()
        worker = asyncio.create_task(app.run_worker_async(concurrency=concurrency, wait=True))
        print('{"ready": true}', flush=True)
        await worker


asyncio.run(serve(int(sys.argv[2])) if sys.argv[1] == "worker" else load())
