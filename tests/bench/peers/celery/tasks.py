"""The Celery application: the tasks, on the Redis at REDIS_PORT. `celery -A tasks worker` runs them."""

import os
import sys
import time

from celery import Celery
from celery.signals import worker_ready

app = Celery("tasks", broker=f"redis://127.0.0.1:{os.environ['REDIS_PORT']}/0")
app.conf.update(task_ignore_result=True, broker_connection_retry_on_startup=True)


def note(what, id):
    """Appends a line by one write, so that it is there though the process is killed the moment after."""
    line = f"{what} {id} {time.time():.3f} {os.getpid()}\n".encode()
    ledger = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(ledger, line)
    finally:
        os.close(ledger)


@app.task(name="work")
def work(kind, id=0, ms=0):
    """Does one task: nothing, or a sleep or a spin that the ledger sees begin and end."""
    if kind == "noop":
        return
    note("b", id)
    if kind == "spin":
        while True:
            pass
    time.sleep(ms / 1000)
    note("e", id)


@worker_ready.connect
def ready(**_):
    """Tells the driver that the worker takes tasks, past the redirection that Celery makes of stdout."""
    print('{"ready": true}', file=sys.__stdout__, flush=True)
