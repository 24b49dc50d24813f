"""A Palladium of the demo's own: started in a folder of its own on free ports, used through the CLI, and hurt on purpose."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path


class Failed(Exception):
    """The demo cannot go on."""


class Installation:
    def __init__(self, executables, folder):
        self.executable = str(Path(executables) / 'palladium')
        self.folder = Path(folder)
        self.process = None
        self.ports = None

    def start(self):
        self.ports = self.ports or free_ports()
        control, stream, gateway, internal = self.ports
        log = open(self.folder.parent / 'up.log', 'ab')
        self.process = subprocess.Popen(
            [self.executable, '--data-dir', str(self.folder), 'up', '--port-control-plane', str(control), '--port-stream', str(stream),
             '--port-gateway', str(gateway), '--internal-ports-from', str(internal)],
            stdout=log, stderr=subprocess.STDOUT,
        )
        started = time.monotonic()
        wait_until(lambda: self.is_ready(), 60, 'palladium up is not ready; see up.log')
        return time.monotonic() - started

    def is_ready(self):
        if self.process.poll() is not None:
            raise Failed(f'palladium up ended with {self.process.returncode}; see up.log')
        return 'Palladium is' in (self.folder.parent / 'up.log').read_text()

    def stop(self):
        """Ctrl-C. Returns how long it took, and the exit code; `killed` when it had to be."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        try:
            code = self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            code = 'killed'
        return time.monotonic() - started, code

    def cli(self, *arguments, stdin=None, fails=False):
        """Runs the CLI as a person would; the answer as JSON where it is JSON."""
        done = subprocess.run(
            [self.executable, '--data-dir', str(self.folder), *arguments], input=stdin, capture_output=True, text=True, timeout=180,
        )
        if fails:
            return done.returncode, done.stderr
        if done.returncode != 0:
            raise Failed(f'palladium {" ".join(arguments)}: {done.stderr.strip()}')
        with contextlib.suppress(ValueError):
            return json.loads(done.stdout)
        return done.stdout

    def environment(self, app_id, project):
        """What `palladium env` gives an application."""
        lines = self.cli('env', app_id, '--project', project, '--format', 'dotenv').splitlines()
        return dict(line.split('=', 1) for line in lines)

    def processes(self):
        """Every process of this installation: {pid: command line}."""
        found = {}
        for entry in Path('/proc').glob('[0-9]*'):
            with contextlib.suppress(OSError):
                words = (entry / 'cmdline').read_bytes().split(b'\0')
                line = ' '.join(word.decode(errors='replace') for word in words if word)
                if str(self.folder) in line and Path(line.split(' ')[0]).name.startswith('palladium'):
                    found[int(entry.name)] = line
        return found

    def pids(self, *words):
        return [pid for pid, line in self.processes().items() if all(word in line for word in words)]

    def kill(self, *words):
        """kill -9 of every process whose command line holds all the words. Returns how many."""
        pids = self.pids(*words)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(pids)

    @contextlib.contextmanager
    def without(self, *words):
        """Keeps a role dead: whenever its supervisor starts it again, it is killed again."""
        over, kills = threading.Event(), []

        def keep_dead():
            while not over.is_set():
                if count := self.kill(*words):
                    kills.append(count)
                over.wait(0.02)

        thread = threading.Thread(target=keep_dead)
        thread.start()
        try:
            yield kills
        finally:
            over.set()
            thread.join()

    def files_with(self, needle, below):
        """Files below a folder of the installation that contain the bytes."""
        found = []
        for path in (self.folder / below).rglob('*'):
            with contextlib.suppress(OSError):
                if path.is_file() and needle in path.read_bytes():
                    found.append(str(path.relative_to(self.folder)))
        return found


def free_ports():
    """Three ports for the public listeners and the first of a range that was free a moment ago."""
    sockets = [socket.socket() for _ in range(4)]
    for one in sockets:
        one.bind(('127.0.0.1', 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    # The internal range must not meet the ephemeral ones.
    with open('/proc/sys/net/ipv4/ip_local_port_range', encoding='ascii') as file:
        lowest = int(file.read().split()[0])
    ports[3] = 17500 + os.getpid() % max(1, lowest - 17500 - 100)
    return ports


def seconds_until(condition, seconds):
    """How long it took until the condition held; None when it did not in time."""
    begun = time.monotonic()
    while not condition():
        if time.monotonic() - begun > seconds:
            return None
        time.sleep(0.05)
    return time.monotonic() - begun


def wait_until(condition, seconds, otherwise):
    """For what the rest of the demo cannot do without."""
    if seconds_until(condition, seconds) is None:
        raise Failed(otherwise)
