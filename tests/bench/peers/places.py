"""Paths of sources and of the install cache, and errors of tools."""

import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "wasmill" / "peers"


class Unavailable(Exception):
    """A peer or a dependency is unavailable here; the other peers still run."""


def say(text):
    """Prints progress for the person who waits."""
    print(text, file=sys.stderr, flush=True)


def run(words, **options):
    """Runs a tool and returns its stdout; raises with its output if it failed."""
    words = [str(word) for word in words]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, **options)
    if done.returncode != 0:
        output = (done.stderr or done.stdout).strip().splitlines()[-6:]
        raise Unavailable(f"{' '.join(words[:4])} …: " + " / ".join(output))
    return done.stdout


def cargo_environment(target):
    """Returns the environment for cargo, with a target folder apart from the product's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CARGO_PROFILE")}
    return {**kept, "CARGO_TARGET_DIR": str(CACHE / target)}


def benchmark():
    """Builds the product and its benchmark, and returns both paths."""
    cargo = os.environ.get("CARGO", "cargo")
    run([cargo, "build", "--release", "--locked", "-p", "wasmill"], cwd=REPOSITORY)
    output = run(
        [cargo, "bench", "--locked", "--workspace", "--exclude", "wasmill-scheduler", "--bench", "bench", "--no-run"]
        + ["--message-format=json"],
        cwd=REPOSITORY,
    )
    for line in output.splitlines():
        message = json.loads(line)
        if message.get("reason") == "compiler-artifact" and message["target"]["name"] == "bench":
            load = Path(message["executable"])
            return load.parents[1] / "wasmill", load
    raise Unavailable("cargo bench did not say where the benchmark is")
