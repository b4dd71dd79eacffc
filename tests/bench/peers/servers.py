"""The servers that store tasks of peers: Redis and PostgreSQL, each on a free port and in a temporary folder."""

import os
import shutil
import signal
import socket
import time
from pathlib import Path

import install
from places import Unavailable, run
from processes import Program, free_port

# The user nobody: PostgreSQL refuses to run as root.
NOBODY = 65534


class Redis:
    """Redis with Debian's settings, or with an append-only file synced before each response."""

    def __init__(self, folder, synced):
        program, environment = install.redis()
        self.port = free_port()
        words = [program, "--bind", "127.0.0.1", "--port", self.port, "--dir", folder, "--daemonize", "no"]
        if synced:
            words += ["--appendonly", "yes", "--appendfsync", "always"]
        else:
            words += ["--appendonly", "no", "--save", "3600 1 300 100 60 10000"]
        self.program = Program(words, folder / "redis.log", environment, waits=False)
        await_port(self.port, self.program)
        self.environment = {"REDIS_PORT": str(self.port)}

    def stop(self):
        self.program.stop()

    @staticmethod
    def version():
        program, environment = install.redis()
        return "Redis " + run([program, "--version"], env=environment).split("v=")[1].split()[0]


class Postgres:
    """PostgreSQL with the settings of initdb: each commit is synced."""

    def __init__(self, folder):
        bin, environment = install.postgresql()
        self.port = free_port()
        as_user = {}
        if os.geteuid() == 0:
            as_user = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
            bin, environment = self.reachable(bin, environment, folder)
            os.chown(folder, NOBODY, NOBODY)
        data = folder / "pg"
        cluster = [bin / "initdb", "-D", data, "-U", "peers", "-A", "trust", "--encoding=UTF8", "--locale=C"]
        run(cluster, env=environment, cwd=folder, **as_user)
        words = [bin / "postgres", "-D", data, "-p", self.port, "-c", "listen_addresses=127.0.0.1"]
        words += ["-c", f"unix_socket_directories={folder}"]
        self.program = Program(words, folder / "postgres.log", environment, cwd=folder, waits=False, **as_user)
        await_port(self.port, self.program)
        self.environment = {"PG_URL": f"postgres://peers@127.0.0.1:{self.port}/postgres"}

    @staticmethod
    def reachable(bin, environment, folder):
        """Copies programs from a home folder closed to other users to where they can be run."""
        if not str(bin).startswith(str(Path.home())):
            return bin, environment
        root = bin.parents[4]
        shutil.copytree(root / "usr", folder / "root/usr", symlinks=True)
        return folder / "root" / bin.relative_to(root), install.libraries(folder / "root")

    def stop(self):
        # A fast but clean shutdown: no recovery is needed at the next start.
        self.program.stop(signal.SIGQUIT)

    @staticmethod
    def version():
        bin, environment = install.postgresql()
        return "PostgreSQL " + run([bin / "postgres", "--version"], env=environment).split()[2]


class NoServer:
    """For peers that store tasks in a file, or not at all."""

    def __init__(self, _folder):
        self.environment = {}

    def stop(self):
        pass

    @staticmethod
    def version():
        return ""


def await_port(port, program):
    """Waits until the port accepts connections."""
    until = time.monotonic() + 30
    while time.monotonic() < until and program.process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    log = program.log_tail()
    program.stop()
    raise Unavailable(f"{program.words[0]} does not listen: {log}")
