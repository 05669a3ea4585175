"""shell/secrets: what a key file may look like, and that no error says what is in it."""

import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from hadirector.core.keys import FileText, Key, Password, Secrets
from hadirector.core.settings.checks import CheckType
from hadirector.core.settings.cluster import Config
from hadirector.core.settings.instances import Authentication, AuthenticationKind
from hadirector.core.settings.questions import Tls
from hadirector.shell import secrets
from tests.core import farm
from tests.core.routers import FRONT

A, B = "a1" * 32, "b2" * 64


def written(folder: Path, text: str | bytes, mode: int = 0o640) -> str:
    file = folder / "secret"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    file.chmod(mode)
    return str(file)


def test_keys_come_in_the_order_of_the_file_comments_and_empty_lines_aside(tmp_path: Path) -> None:
    path = written(tmp_path, f"# of 2026\n\n  7 {A}  \n1\t{B.upper()}\n   # old\n")

    assert secrets.read_keys(path) == (
        Key(7, bytes.fromhex(A)),
        Key(1, bytes.fromhex(B)),
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", ": holds no key"),
        ("# none\n", ": holds no key"),
        (f"{A}\n", ":1: is not 'ID HEX'"),
        (f"1 {A} x\n", ":1: is not 'ID HEX'"),
        (f"\n0 {A}\n", ":2: the first word is the key's number: 1 to 255"),
        (f"256 {A}\n", ":1: the first word is the key's number"),
        (f"-1 {A}\n", ":1: the first word is the key's number"),
        (f"{A} 1\n", ":1: the first word is the key's number"),
        (f"1 {A}\n1 {B}\n", ":2: key 1 is there twice"),
        (f"1 {A}0\n", ":1: the key is not hex"),
        (f"1 {A[:-2]}zz\n", ":1: the key is not hex"),
        (f"1 {A[:-2]}\n", ":1: the key has 31 bytes: 32 to 64 are needed"),
        (f"1 {B}00\n", ":1: the key has 65 bytes"),
        (b"1 \xff\xfe\n", ": is not text"),
        (b"\0" * 70_000, ": is larger than 65536 bytes"),
    ],
)
def test_each_mistake_is_told_with_its_line_and_without_the_key(
    tmp_path: Path, text: str | bytes, complaint: str
) -> None:
    path = written(tmp_path, text)

    with pytest.raises(secrets.SecretError) as caught:
        secrets.read_keys(path)

    told = str(caught.value)
    assert told.startswith(path + complaint)
    assert "\n" not in told
    assert A[:8] not in told
    assert B[:8] not in told
    assert caught.value.__cause__ is None


def test_what_is_no_readable_file_is_told_and_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")

    for name, complaint in (
        ("missing", "No such file or directory"),
        ("fifo", "is no regular file"),
        (".", "is no regular file"),
    ):
        path = str(tmp_path / name)
        for read in (secrets.read_keys, secrets.read_password):
            with pytest.raises(secrets.SecretError) as caught:
                read(path)
            assert str(caught.value) == f"{path}: {complaint}"


@pytest.mark.parametrize(
    ("text", "password"),
    [
        ("secret\n", b"secret"),
        ("secret", b"secret"),
        ("longer than eight".replace(" ", ""), b"longerth"),
    ],
)
def test_a_password_is_the_first_8_characters_of_its_line(
    tmp_path: Path, text: str, password: bytes
) -> None:
    assert secrets.read_password(written(tmp_path, text)) == Password(password)


@pytest.mark.parametrize("text", ["", "\n", "one\ntwo\n", "a b\n", "t\u00fcr\n", "\x01\n"])
def test_what_is_no_password_is_refused_without_quoting_it(tmp_path: Path, text: str) -> None:
    path = written(tmp_path, text)

    with pytest.raises(secrets.SecretError) as caught:
        secrets.read_password(path)

    assert str(caught.value).startswith(path)


@pytest.mark.parametrize(("mode", "told"), [(0o600, False), (0o640, False), (0o644, True)])
def test_a_file_that_everybody_can_read_is_complained_of(
    tmp_path: Path, mode: int, told: bool
) -> None:
    path = written(tmp_path, f"1 {A}\n", mode)

    assert bool(secrets.exposure(path)) is told
    assert secrets.exposure(str(tmp_path / "missing")) == ""


def test_no_secret_shows_itself() -> None:
    shown = f"{Key(3, bytes.fromhex(A))!r} {Password(b'pssst')!r} {[Key(3, b'pssst' * 8)]}"

    assert shown == "Key(identity=3) Password() [Key(identity=3)]"


def settings(*files: Authentication, key_file: str | None = None) -> Config:
    instances = tuple(
        replace(FRONT, name=f"front{n}", authentication=file) for n, file in enumerate(files)
    )
    return replace(farm.CONFIG, key_file=key_file, instances=instances)


async def test_all_that_a_configuration_names_is_read_once(tmp_path: Path) -> None:
    keys, word = tmp_path / "keys", tmp_path / "word"
    keys.write_text(f"1 {A}\n")
    word.write_text("secret\n")
    keys.chmod(0o640)
    word.chmod(0o644)
    config = settings(
        Authentication(AuthenticationKind.HMAC, str(keys)),
        Authentication(AuthenticationKind.PASS, str(word)),
        Authentication(AuthenticationKind.PASS, str(word)),
        key_file=str(keys),
    )

    found, exposed = await secrets.read_all(config)

    assert found == Secrets((Key(1, bytes.fromhex(A)),), {str(word): Password(b"secret")}, {})
    assert exposed == (
        f"{word}: everybody on this machine can reach it (mode 0644): chmod 0640 {word}",
    )


async def test_each_file_that_cannot_be_read_is_a_trouble_of_its_own(tmp_path: Path) -> None:
    word = tmp_path / "word"
    word.write_text("secret\n")
    config = settings(
        Authentication(AuthenticationKind.PASS, str(word)),
        Authentication(AuthenticationKind.PASS, "/missing/word"),
        key_file="/missing/keys",
    )

    found, _ = await secrets.read_all(config)

    assert found.passwords == {str(word): Password(b"secret")}
    assert found.troubles == {
        "/missing/keys": "/missing/keys: No such file or directory",
        "/missing/word": "/missing/word: No such file or directory",
    }


async def test_a_file_system_that_hangs_does_not_hold_the_director_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = threading.Event()
    monkeypatch.setattr(secrets, "PATIENCE", 0.05)
    monkeypatch.setattr(secrets, "read_keys", lambda path: answers.wait(5))

    found, _ = await secrets.read_all(settings(key_file="/hung/keys"))
    answers.set()

    assert found.keys == ()
    assert found.troubles == {
        "/hung/keys": "/hung/keys: not read within 0.05 s: its file system does not answer"
    }


async def test_without_files_nothing_is_read() -> None:
    assert await secrets.read_all(settings(Authentication())) == (Secrets(), ())


async def test_files_that_checks_name_are_read_and_kept_from_the_election(tmp_path: Path) -> None:
    password = written(tmp_path, "probe:horse-battery\n")
    authorities = tmp_path / "ca.pem"
    authorities.write_bytes(b"PEM" * 100_000)
    check = replace(
        farm.PAGE,
        type=CheckType.HTTPS,
        auth_file=password,
        tls=Tls(ca_file=str(authorities)),
    )

    found, exposed = await secrets.read_all(replace(farm.CONFIG, checks=(check,)))

    assert found.files == {
        password: FileText(b"probe:horse-battery\n"),
        str(authorities): FileText(b"PEM" * 100_000),
    }
    assert exposed == ()
    assert found.of_adverts() == Secrets()
    assert "horse" not in repr(found)


async def test_a_file_of_a_check_that_is_not_there_is_a_trouble(tmp_path: Path) -> None:
    path = str(tmp_path / "none")
    check = replace(farm.PAGE, auth_file=path)

    found, _ = await secrets.read_all(replace(farm.CONFIG, checks=(check,)))

    assert found == Secrets(troubles={path: f"{path}: No such file or directory"})


async def test_a_password_of_a_check_that_everybody_can_read_is_told(tmp_path: Path) -> None:
    path = written(tmp_path, "probe:x\n", mode=0o644)

    _, exposed = await secrets.read_all(
        replace(farm.CONFIG, checks=(replace(farm.PAGE, auth_file=path),))
    )

    assert exposed == (
        f"{path}: everybody on this machine can reach it (mode 0644): chmod 0640 {path}",
    )
