"""The configuration a director begins with, and what is known to be wrong with its file."""

import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from hadirector.config import apart, handover
from hadirector.core import director_events as ev
from hadirector.core.messages import Event
from hadirector.core.settings.cluster import Config
from hadirector.shell import last_good

log = logging.getLogger(__name__)


async def configuration(path: str) -> Config:
    """What was accepted last; where that cannot be read (another version wrote it, or somebody
    else; it is gone), the file it came from."""
    try:
        loaded = handover.decode(await asyncio.to_thread(Path(path).read_bytes))
    except (OSError, ValueError) as error:
        source, node = os.environ["HADIRECTOR_FILE"], os.environ["HADIRECTOR_NODE"]
        log.warning("%s: %s; reading %s again", path, error, source)
        blob = await apart.parse(source, node)
        loaded = handover.decode(blob)
        if loaded.config is not None:
            with contextlib.suppress(OSError):  # made again once the director runs
                await asyncio.to_thread(last_good.keep, loaded.config.runtime_dir, blob)
    if loaded.config is None:
        for each in loaded.problems:
            log.error("%s", each)
        sys.exit(1)  # started again and again: the file may be mended meanwhile
    return loaded.config


async def refusal(config: Config, past: Iterable[Event]) -> ev.Refused | None:
    """What was wrong with the file before this director began; told only where it was not yet."""
    trouble = await asyncio.to_thread(last_good.refused, config.runtime_dir)
    if not trouble:
        return None
    told = any(event.kind == "config_refused" and event.reason in trouble for event in past)
    return ev.Refused("" if told else trouble, trouble)
