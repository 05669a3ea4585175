"""The note one election process leaves to the next."""

import os
from collections.abc import Iterator

import pytest

from hadirector.shell import note
from hadirector.shell.note import Full, Note


@pytest.fixture
def memory() -> Iterator[int]:
    descriptor = os.memfd_create("note")
    yield descriptor
    os.close(descriptor)


def test_an_empty_note_says_nothing(memory: int) -> None:
    assert Note(memory).last_adverts() == {}


def test_the_next_process_reads_what_was_written_last(memory: int) -> None:
    writer = Note(memory)
    writer.write("front", 4, 12.5)
    writer.write("front", 6, 13.0)
    writer.write("inside", 4, 14.0)
    writer.write("front", 4, 15.25)
    writer.write("inside", 4, None)

    assert Note(memory).last_adverts() == {
        ("front", 4): 15.25,
        ("front", 6): 13.0,
        ("inside", 4): None,
    }


def test_a_second_process_goes_on_in_the_same_slot(memory: int) -> None:
    Note(memory).write("front", 4, 12.5)
    Note(memory).write("front", 4, 13.5)

    assert Note(memory).last_adverts() == {("front", 4): 13.5}


def test_a_name_too_long_is_refused_and_nothing_written(memory: int) -> None:
    with pytest.raises(Full, match="cannot be noted"):
        Note(memory).write("x" * (note.LONGEST_NAME + 1), 4, 1.0)

    assert Note(memory).last_adverts() == {}


def test_slots_of_routers_that_are_no_masters_are_used_again(memory: int) -> None:
    writer = Note(memory)
    for number in range(note.SLOTS):
        writer.write(f"router{number}", 4, None if number == 7 else 1.0)

    writer.write("late", 4, 2.0)

    read = Note(memory).last_adverts()
    assert read[("late", 4)] == 2.0
    assert ("router7", 4) not in read
    with pytest.raises(Full):
        writer.write("later", 4, 3.0)


def test_garbage_in_the_memory_is_not_a_note(memory: int) -> None:
    os.write(memory, b"\xff" * note.SIZE)

    assert Note(memory).last_adverts() == {}
