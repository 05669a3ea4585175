"""Commands that other programs write as one text, as lists of arguments without a shell."""

import re
import shlex

_SHELL = re.compile(r"[|&;<>()$`*?~]|\[|\]")


def argv(text: str) -> list[str] | None:
    """The arguments; a program without a path is looked for by env(1), and what only a shell can
    do is given to one. None when the text is none or its quotes do not match."""
    if "/dev/tcp/" in text or "/dev/udp/" in text:
        return ["/bin/bash", "-c", text]
    if _SHELL.search(text):
        return ["/bin/sh", "-c", text]
    try:
        words = shlex.split(text)
    except ValueError:
        return None
    if not words:
        return None
    return words if words[0].startswith("/") else ["/usr/bin/env", *words]
