"""`lab shell`: a shell in the running lab."""

import os
import subprocess
import sys
from pathlib import Path

from labkit import topology
from labkit.lab import Lab
from labkit.setup import Setup, direct, nat

_HELP = """
  lb1 COMMAND ...      runs it on that node; nodes: {nodes}
  lb1 ipvsadm -Ln      the kernel's table     lb1 bash      a shell there
  client curl -s {vip}/who                 hadirector's configuration: {config}
  exit                 ends the lab
"""


def run(arguments: list[str]) -> int:
    """Builds the lab, starts both directors, and hands over; `-c COMMANDS` runs these instead."""
    product = "keepalived" if "keepalived" in arguments else "hadirector"
    with Lab(product) as lab:
        lab.start(Setup(services=(nat(), direct())))
        commands = lab.directory / "bin"
        _write_commands(lab, commands)
        environment = {
            **os.environ,
            "PATH": f"{commands}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PS1": "lab# ",
        }
        shell = ["bash", "--norc", "-i"]
        if "-c" in arguments:
            shell = ["bash", "--norc", *arguments[arguments.index("-c") :]]
        else:
            nodes = " ".join(lab.network.nodes)
            print(topology.describe())
            print(_HELP.format(nodes=nodes, vip=topology.VIP, config=lab.lb1.config), flush=True)
        return subprocess.run(shell, env=environment, check=False).returncode


def _write_commands(lab: Lab, directory: Path) -> None:
    directory.mkdir()
    for name, node in [*lab.network.nodes.items(), ("switch", lab.network.switch)]:
        command = directory / name
        command.write_text(f'#!/bin/sh\nexec nsenter -t {node.anchor} -n -m -u -- "$@"\n')
        command.chmod(0o755)
