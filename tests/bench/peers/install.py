"""Installs what peers need into the cache folder, from Debian, npm, PyPI and crates.io, each in a pinned version.

What is there already in that version is left alone. Nothing is installed into the system, and nothing is started.
"""

import filecmp
import os
import shutil
from functools import cache
from pathlib import Path

from places import CACHE, HERE, Unavailable, cargo_environment, run, say

WASMTIME = "48.0.8"
CARGO = os.environ.get("CARGO", "cargo")


def debian(package):
    """Unpacks a Debian package with its missing dependencies and returns the folder."""
    folder = CACHE / "debian" / package
    done = folder / "done"
    if done.exists():
        return folder
    if not shutil.which("apt-get"):
        raise Unavailable(f"{package} is not installed, and this is no Debian to fetch it from")
    say(f"fetching {package} from Debian")
    shutil.rmtree(folder, ignore_errors=True)
    archives = folder / "archives"
    (archives / "partial").mkdir(parents=True)
    # Only downloaded, so that no system files, services or locks are touched.
    fetch = ["apt-get", "install", "-d", "-y", "-qq", "--no-install-recommends", "--reinstall"]
    fetch += ["-o", "Debug::NoLocking=1", "-o", f"Dir::Cache::archives={archives}", package]
    run(fetch)
    for archive in archives.glob("*.deb"):
        run(["dpkg-deb", "-x", archive, folder])
    shutil.rmtree(archives)
    done.touch()
    return folder


def libraries(folder):
    """Returns the environment in which programs of an unpacked package find their libraries."""
    found = sorted({str(library.parent) for library in folder.glob("usr/lib/**/*.so*")})
    return {**os.environ, "LD_LIBRARY_PATH": ":".join(found)}


@cache
def redis():
    """Returns the path of redis-server and the environment that it needs."""
    installed = shutil.which("redis-server")
    if installed:
        return Path(installed), dict(os.environ)
    folder = debian("redis-server")
    return folder / "usr/bin/redis-server", libraries(folder)


@cache
def postgresql():
    """Returns the folder with the programs of PostgreSQL and the environment that they need."""

    def newest(root):
        return max(root.glob("usr/lib/postgresql/*/bin"), key=lambda path: int(path.parent.name), default=None)

    bin = newest(Path("/"))
    if bin and (bin / "initdb").exists():
        return bin, dict(os.environ)
    # "postgresql" depends on the server package with the version of this Debian release.
    output = run(["apt-cache", "depends", "postgresql"]) if shutil.which("apt-cache") else ""
    packages = [word for word in output.split() if word.startswith("postgresql-")]
    if not packages:
        raise Unavailable("PostgreSQL is not installed, and Debian's cannot be found here")
    folder = debian(packages[0])
    return newest(folder), libraries(folder)


@cache
def node():
    """Installs the packages of npm and returns the folder with the scripts in it."""
    if not shutil.which("npm"):
        raise Unavailable("npm is not installed: apt-get install nodejs npm")
    folder = CACHE / "node"
    folder.mkdir(parents=True, exist_ok=True)
    lock = HERE / "node" / "package-lock.json"
    done = folder / "installed-lock.json"
    if not (done.exists() and filecmp.cmp(lock, done, shallow=False)):
        say("installing packages from npm")
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / "node" / name, folder)
        # Not `npm ci`: it refuses a lock file that names packages of other systems without their versions.
        run(["npm", "install", "--no-audit", "--no-fund", "--loglevel=error"], cwd=folder)
        shutil.copy(lock, done)
    # Beside node_modules, where imports are looked for.
    for script in (HERE / "node").glob("*.mjs"):
        shutil.copy(script, folder)
    return folder


@cache
def python(peer):
    """Installs the packages of PyPI that a peer needs, and returns the folder of their programs."""
    folder = CACHE / peer
    wanted = HERE / peer / "requirements.txt"
    done = folder / "installed.txt"
    if not (done.exists() and filecmp.cmp(wanted, done, shallow=False)):
        say("installing packages from PyPI")
        run(["python3", "-m", "venv", "--clear", folder])
        run([folder / "bin/python", "-m", "pip", "install", "--quiet", "--no-deps", "-r", wanted])
        shutil.copy(wanted, done)
    return folder / "bin"


@cache
def apalis():
    """Builds the worker and client of apalis, and returns its path."""
    say("building apalis from crates.io, minutes the first time")
    manifest = HERE / "rust" / "Cargo.toml"
    build = [CARGO, "build", "--release", "--locked", "--quiet", "--manifest-path", manifest]
    run(build, env=cargo_environment("rust"))
    return CACHE / "rust/release/peer-apalis"


@cache
def serve_guest():
    """Builds the component for `wasmtime serve`, and returns its path."""
    manifest = HERE / "rust" / "serve-guest" / "Cargo.toml"
    build = [CARGO, "build", "--release", "--locked", "--quiet", "--target", "wasm32-wasip2"]
    run(build + ["--manifest-path", manifest], env=cargo_environment("rust"))
    return CACHE / "rust/wasm32-wasip2/release/serve_guest.wasm"


@cache
def wasmtime():
    """Builds `wasmtime` with what `serve` needs, and returns its path."""
    root = CACHE / f"wasmtime-{WASMTIME}"
    program = root / "bin/wasmtime"
    if not program.exists():
        say("building wasmtime serve from crates.io, some ten minutes")
        build = [CARGO, "install", "--locked", "--quiet", "--root", root, "--no-default-features"]
        build += ["--features", "serve,run,component-model-async,compile,pooling-allocator,parallel-compilation"]
        # The compiler runs once per run, before the measurements, so it need not be optimised.
        for crate in ("cranelift-codegen", "regalloc2"):
            build += ["--config", f"profile.release.package.{crate}.opt-level=1"]
        run(build + [f"wasmtime-cli@{WASMTIME}"], env=cargo_environment("wasmtime-build"))
        shutil.rmtree(CACHE / "wasmtime-build", ignore_errors=True)
    return program
