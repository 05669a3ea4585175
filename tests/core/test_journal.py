"""The journal: bounded in lines and in bytes."""

from hadirector.core.journal import LONGEST, Journal
from hadirector.core.messages import Event


def test_foreign_text_does_not_make_an_event_longer_than_a_reader_bears() -> None:
    journal = Journal()

    own = journal.add(0.0, "config_refused", "s" * 5000, "r" * 136_000, {"detail": "d" * 5000})
    foreign = journal.take(Event(9, 0.0, "fault", "front", "r" * 5000))

    assert own.reason == "r" * LONGEST + "... (136000 characters)"
    assert len(own.subject) + len(own.inputs["detail"]) < 500
    assert foreign.reason.endswith("... (5000 characters)")


def test_a_sentence_is_kept_as_it_is() -> None:
    event = Journal().add(0.0, "server_down", "web", "refused", {"weight": "0"})

    assert (event.subject, event.reason, event.inputs) == ("web", "refused", {"weight": "0"})
