"""The checker as a process: it speaks the contract and holds no privilege."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from hadirector.core.messages import (
    Health,
    Heartbeat,
    Hello,
    Message,
    Order,
    OrderKind,
    Process,
    Targets,
    Verdicts,
)
from hadirector.shell import channel, child
from hadirector.shell.child import Child
from tests.shell.test_checker import target, told, until


@dataclass(frozen=True, slots=True)
class Started:
    """A real checker process, and our ends of its channels."""

    process: subprocess.Popen[str]
    director: channel.Channel
    supervisor: channel.Channel

    def status(self) -> str:
        return Path(f"/proc/{self.process.pid}/status").read_text()


@pytest.fixture
def started() -> Iterator[Started]:
    director, its_director = channel.pair()
    supervisor, its_supervisor = channel.pair()
    fds = (its_director.fileno(), its_supervisor.fileno())
    arguments = ["--fd", f"director={fds[0]}", "--fd", f"supervisor={fds[1]}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "hadirector.checker", *arguments],
        pass_fds=fds,
        stderr=subprocess.PIPE,
        text=True,
    )
    its_director.close()
    its_supervisor.close()
    yield Started(
        process, channel.Channel(director, "checker"), channel.Channel(supervisor, "checker")
    )
    process.kill()
    process.wait()
    assert process.stderr is not None
    process.stderr.close()


async def test_the_process_holds_no_capability_and_speaks_the_contract(started: Started) -> None:
    got: list[Message] = []
    started.director.start(lambda received: got.append(received.message))
    started.supervisor.start(lambda received: got.append(received.message))
    started.director.send(Targets((target(port=1),)))
    await until(lambda: (target(port=1).id, Health.DOWN) in flat(got))
    status = started.status()
    started.supervisor.send(Order(OrderKind.STOP, "1"))
    await until(lambda: started.process.poll() is not None)
    started.director.close()
    started.supervisor.close()
    assert started.process.stderr is not None
    errors = started.process.stderr.read()

    assert Hello(Process.CHECKER, started.process.pid) in got
    assert any(isinstance(message, Heartbeat) and message.ready for message in got)
    for held in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert f"{held}:\t0000000000000000\n" in status
    assert "NoNewPrivs:\t1\n" in status
    assert started.process.returncode == 0
    assert "Traceback" not in errors


def flat(messages: list[Message]) -> list[tuple[str, Health]]:
    """Every verdict told, in order."""
    return [pair for message in messages if isinstance(message, Verdicts) for pair in told(message)]


def test_a_privileged_process_cannot_gain_anything_back() -> None:
    code = (
        "from hadirector.shell import confine; confine.drop_capabilities()\n"
        "import subprocess; subprocess.run(['cat', '/proc/self/status'])"
    )

    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    # Root would regain at exec all that the bounding set holds, so look at what was executed.
    assert "CapPrm:\t0000000000000000\n" in run.stdout
    assert "CapEff:\t0000000000000000\n" in run.stdout
    if os.geteuid() == 0:  # only a privileged process can empty its bounding set
        assert "CapBnd:\t0000000000000000\n" in run.stdout


async def test_a_fault_of_our_own_ends_the_process_rather_than_leaving_it_blind() -> None:
    process = Child(Process.CHECKER, {}, {})
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(partial(child.fail, process))

    loop.call_soon(lambda: 1 // 0)
    await until(process.stopping.is_set)

    assert "lambda" in process.fault
