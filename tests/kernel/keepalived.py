"""A real keepalived on a machine, in any of the ways in which it can speak."""

import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.kernel.pair import Machine

DEBIAN = shutil.which("keepalived", path="/usr/sbin:/usr/bin:/sbin:/bin")
NEW = os.environ.get("KEEPALIVED_NEW", "")
"""One that knows auth_hmac (2.4 or later), which Debian 12 does not have."""

_CONFIG = """
global_defs {{
    vrrp_version {dialect.version}
    {dialect.globally}
}}
vrrp_instance front {{
    state BACKUP
    interface eth0
    virtual_router_id 51
    priority {priority}
    advert_int {dialect.interval}
    {dialect.block}
    virtual_ipaddress {{
        {dialect.vip}
    }}
}}
"""


@dataclass(frozen=True)
class Dialect:
    """What of its configuration is not the same in all tests."""

    version: int = 3
    interval: float = 0.1
    block: str = ""
    globally: str = ""
    vip: str = "192.0.2.10/24"


class Keepalived:
    """A running one."""

    def __init__(
        self,
        machine: Machine,
        folder: Path,
        dialect: Dialect,
        priority: int,
        program: str | None = DEBIAN,
    ) -> None:
        assert program
        self.machine = machine
        file = folder / "keepalived.conf"
        file.write_text(_CONFIG.format(dialect=dialect, priority=priority))
        file.chmod(0o600)
        self._log = (folder / "keepalived.log").open("wb")
        self._vrrp_pid = folder / "vrrp.pid"
        self.process = machine.spawn(
            *(program, "--dont-fork", "--vrrp", "--log-console", "--log-detail"),
            *("--use-file", str(file), "--pid", str(folder / "pid")),
            *("--vrrp_pid", str(self._vrrp_pid)),
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def said(self) -> str:
        """Its log."""
        return Path(self._log.name).read_text(errors="replace")

    def kill(self) -> None:
        """kill -9 of both its processes: a child whose parent dies leaves in order, a parent
        whose child dies starts another, so it is halted first."""
        self.process.send_signal(signal.SIGSTOP)
        os.kill(int(self._vrrp_pid.read_text()), signal.SIGKILL)
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """Stop it, whatever state it is in."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(10)
        self._log.close()
