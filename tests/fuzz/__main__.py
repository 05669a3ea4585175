"""Coverage-guided fuzzing of what a packet goes through, from the IP header to the verdict:

    pip install atheris
    python -m tests.fuzz [relay|sync] [-max_total_time=600 ...]      # libFuzzer's options

`relay`: the same for what comes to the port of sealed connection records; recorded likewise:
460,749 datagrams in 481 s, no finding. `sync`: for datagrams of the kernel's own sync stream:
471,874 in 311 s, no finding.

Recorded with atheris 3.0.0 and Python 3.11, at the lowest priority of a busy machine with 2 CPUs:
4,190,357 packets in 1,201 s (3,489 a second), the slowest below 1 s, 65 MB at most, no finding.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import atheris

with atheris.instrument_imports(include=["hadirector"]):
    from hadirector.core import relay_wire
    from tests.core.relays import datagram
    from tests.fuzz import packet, relayed, synced

EXAMPLES = (
    b"\x40\0\0\0" + bytes.fromhex("3133640100640000c000020a"),
    b"\x42\0\0\0" + bytes.fromhex("2133640100010000c000020a0000000000000000"),
    b"\x42\0\1\0" + bytes.fromhex("2133640101010000c000020a7365637265740000"),
    b"\x41\0\0\0" + bytes.fromhex("3133640100640000fe800000000000000000000000000010"),
    b"\x60\0\4\0" + bytes.fromhex("3133640100640000c000020a"),
    b"\x54\0\0\1" + bytes.fromhex("3133640100640000c000020a"),
)


RELAYED = (
    b"\1" + (1).to_bytes(8, "big") + datagram(7),
    b"\2" + bytes(8) + relay_wire.encode(relay_wire.Beat(1_000_001, 5, 1, 1_000_002, 0)),
    b"\2" + bytes(8) + relay_wire.encode(relay_wire.Again(1_000_002, ((1, 5),))),
    b"\0" + bytes(8) + b"HDS1",
)


def test_one_input(data: bytes) -> None:
    """libFuzzer's entry."""
    packet.run(data)


def test_one_sync_datagram(data: bytes) -> None:
    """libFuzzer's entry for the kernel's sync stream."""
    synced.run(data)


if __name__ == "__main__":
    if sys.argv[1:2] == ["relay"]:
        with TemporaryDirectory() as corpus:
            for number, example in enumerate(RELAYED):
                Path(corpus, str(number)).write_bytes(example)
            atheris.Setup([sys.argv[0], *sys.argv[2:], corpus], relayed.Run())
            atheris.Fuzz()
    if sys.argv[1:2] == ["sync"]:
        with TemporaryDirectory() as corpus:
            for number, example in enumerate(synced.EXAMPLES):
                assert synced.run(example), example.hex()
                Path(corpus, str(number)).write_bytes(example)
            atheris.Setup([sys.argv[0], *sys.argv[2:], corpus], test_one_sync_datagram)
            atheris.Fuzz()
    with TemporaryDirectory() as corpus:
        for number, example in enumerate(EXAMPLES):
            assert packet.run(example) is not None, example.hex()
            Path(corpus, str(number)).write_bytes(example)
        atheris.Setup([*sys.argv, corpus], test_one_input)
        atheris.Fuzz()
