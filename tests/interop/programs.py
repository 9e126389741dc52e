"""The programs under test, as processes: `peer-storage`, and `peer-storage-world` with a chain and its nodes.

Each ends with the test that has started it, by its own process id.
"""

import json
import os
import pathlib
import queue
import subprocess
import tempfile
import threading

from peer import PATIENCE

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Where `cargo xtask interop` has built them.
PROGRAMS = pathlib.Path(os.environ.get("INTEROP_PROGRAMS", ROOT / "target" / "debug"))


class Program:
    """A running program whose standard output is read line by line."""

    def __init__(self, case, name, *args, stdin=subprocess.DEVNULL, environment=None):
        self.errors = tempfile.TemporaryFile(mode="w+")
        self.process = subprocess.Popen(
            [PROGRAMS / name, *map(str, args)],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        self.lines = queue.Queue()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        case.addCleanup(self._end)

    def line(self, patience=PATIENCE):
        """The next line; None when there will be none."""
        return self.lines.get(timeout=patience)

    def ended(self, patience=PATIENCE):
        """The exit code, as soon as there is one."""
        return self.process.wait(timeout=patience)

    def said(self):
        """What it has written for a person."""
        self.errors.seek(0)
        return self.errors.read()

    def kill(self):
        """SIGKILL: it has no moment left."""
        self.process.kill()
        self.process.wait(timeout=PATIENCE)

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def _end(self):
        if self.process.poll() is None:
            self.kill()
        self.reader.join(timeout=PATIENCE)
        self.process.stdout.close()
        self.errors.close()


class Tool(Program):
    """`peer-storage`, with `--json`."""

    def __init__(self, case, command, *args, **more):
        fixed = ["--json", "--network", "regtest"]
        super().__init__(case, "peer-storage", command, *fixed, *args, **more)

    def event(self, name, patience=PATIENCE):
        """The next event of this name."""
        while (line := self.line(patience)) is not None:
            event = json.loads(line)
            if event["event"] == name:
                return event
        raise AssertionError(f"it ended without {name!r}: {self.said()}")


class Storer:
    """`peer-storage serve`: whoever is allowed has a blob kept."""

    def __init__(self, case, home, *allowed):
        self.case = case
        seed = seed_file(home, "storer", bytes([0x5e] * 32))
        allow = [arg for node in allowed for arg in ("--allow", node.id.hex())]
        self.tool = Tool(
            case, "serve", "--seed-file", seed, "--data-dir", home / "storer",
            "--listen", "127.0.0.1:0", *(allow or ["--anyone"]),
        )
        listening = self.tool.event("listening")
        self.node_id = bytes.fromhex(listening["node_id"])
        self.port = int(listening["address"].rsplit(":", 1)[1])

    def kill(self):
        self.tool.kill()


class World(Program):
    """A regtest chain, nodes and a server, as tests/world/README.md says."""

    def __init__(self, case, name, *peers):
        super().__init__(case, "peer-storage-world", stdin=subprocess.PIPE)
        kinds = [{"name": peer, "kind": "stock"} for peer in peers]
        self.told = self.do("start", name=name, peers=kinds)

    def do(self, command, **args):
        """Has it do something, and returns what it answers."""
        self.process.stdin.write(json.dumps({"do": command, **args}) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.line())
        assert answer["ok"], answer["error"]
        return answer

    def _end(self):
        # Its chain is in a file by then.
        self.process.stdin.close()
        self.process.wait(timeout=PATIENCE)
        super()._end()


def home(case):
    """A directory that is gone after the test."""
    held = tempfile.TemporaryDirectory()
    case.addCleanup(held.cleanup)
    return pathlib.Path(held.name)


def seed_file(home, name, seed):
    """A file with a seed."""
    path = home / f"{name}.seed"
    path.write_text(seed.hex())
    return path
