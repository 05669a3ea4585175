"""Log lines that do not hold up the loop."""

import subprocess
import sys
import time

PROGRAM = """
import logging, sys, time
from hadirector.shell import log_writer
logging.basicConfig(stream=sys.stderr, level="INFO", format="%(levelname)s %(message)s")
writer = log_writer.LogWriter()
writer.take_over()
started = time.monotonic()
for number in range(COUNT):
    logging.info("line %d %s", number, "x" * 100)
print(round(time.monotonic() - started, 3), flush=True)
writer.close()
"""


def test_lines_come_out_whole_and_in_order() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("COUNT", "3")],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )

    assert done.stderr.splitlines() == [f"INFO line {n} {'x' * 100}" for n in range(3)]


def test_a_reader_that_stands_still_holds_nothing_up_and_the_loss_is_told() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.replace("COUNT", "5000")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    spent = float(process.stdout.readline())  # nobody reads stderr: its pipe holds 64 KiB
    time.sleep(0.2)

    lines = process.stderr.read().splitlines()

    process.wait(20)
    process.stdout.close()
    process.stderr.close()
    assert spent < 2.0
    assert len(lines) < 5000
    assert [line for line in lines if line.startswith("WARNING") and line.endswith("dropped here")]
