"""A wall clock that a test puts ahead, so that nothing waits for minutes to pass.

The programs under test run as they are; `ahead.c` stands between them and the system's clock. Only Linux
lets a library be put there in this way.
"""

import atexit
import functools
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent


class Clock:
    """The wall clock of the processes that are started with its `environment`."""

    def __init__(self, home):
        self.file = home / "clock-ahead"
        self.put_ahead(0)
        self.environment = {"LD_PRELOAD": library(), "CLOCK_AHEAD": str(self.file)}

    def put_ahead(self, seconds):
        """So many seconds before the system's, from now on."""
        new = self.file.with_suffix(".new")
        new.write_text(str(seconds))
        new.rename(self.file)


needs_a_clock = unittest.skipUnless(
    sys.platform == "linux", "a process's clock is put ahead through LD_PRELOAD, which Linux alone has"
)


@functools.cache
def library():
    """`ahead.c`, compiled. It is gone when the tests are over."""
    built = tempfile.TemporaryDirectory()
    atexit.register(built.cleanup)
    path = f"{built.name}/ahead.so"
    compiler = os.environ.get("CC", "cc")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", path, HERE / "ahead.c"], check=True, timeout=60)
    return path
