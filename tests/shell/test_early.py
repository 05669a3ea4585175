"""Signals that come before anybody obeys them."""

import signal
import subprocess
import sys

PROGRAM = """
import os, signal
from hadirector.shell import early
early.listen()
for number in {signals}:
    os.kill(os.getpid(), number)
print(early.reload_asked(), early.reload_asked())
"""


def run(*signals: int) -> str:
    code = PROGRAM.format(signals=[int(each) for each in signals])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_hangup_during_the_start_is_a_reload_asked_for_once() -> None:
    assert run(signal.SIGHUP, signal.SIGHUP) == "True False"


def test_what_keepalived_obeys_ends_nobody() -> None:
    assert run(signal.SIGUSR1, signal.SIGUSR2) == "False False"
