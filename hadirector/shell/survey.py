"""All links and addresses read again, beside the work.

A host may have thousands of them that are not ours, and reading 500 links at once takes 15 ms: too
long for a loop that advertises each 10 ms. So they are read in small pieces, one in each turn, and
events that come meanwhile count as newer.
"""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable

from hadirector.shell import links, netlink, rtnetlink
from hadirector.shell.netlink import KernelError

log = logging.getLogger(__name__)

_DATAGRAM = 8 << 10  # bytes read at once: about 10 links or 100 addresses
_LARGEST = 64 << 10  # once a message was larger than that


class Survey:
    """Reading everything again, one datagram in each turn of the loop, over a socket of its own.

    `done(changed)` is called at the end. `failed`: it came to nothing and is to begin again soon.
    """

    def __init__(self, table: links.Table, done: Callable[[bool], None]) -> None:
        self._table = table
        self._done = done
        self._socket: socket.socket | None = None
        self._largest = _DATAGRAM
        self.failed = False
        self._links: dict[int, rtnetlink.LinkEntry] = {}
        self._addresses: dict[links.Key, rtnetlink.AddressEntry] = {}

    def begin(self) -> None:
        """Start anew; one under way is given up."""
        self.close()
        self.failed = False
        self._links, self._addresses = {}, {}
        try:
            self._socket = netlink.open_socket(rtnetlink.NETLINK_ROUTE)
            self._table.survey_begins()
            self._ask(rtnetlink.list_links(), 1)
        except OSError as error:
            self._give_up(str(error))
            return
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._step)

    def close(self) -> None:
        """Give up what is under way."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _step(self) -> None:
        """Take in what one read brings."""
        assert self._socket is not None
        try:
            data, _, flags, (port, _) = self._socket.recvmsg(self._largest)
            if flags & socket.MSG_TRUNC:
                self._largest = _LARGEST
                raise OSError(errno.EMSGSIZE, "a message larger than expected")
            if port == 0 and self._take(data):
                self.close()
                self._done(self._table.survey_ends(self._links, self._addresses))
        except BlockingIOError:
            return
        except (OSError, KernelError) as error:
            self._give_up(str(error))

    def _take(self, data: bytes) -> bool:
        """Whether that was the end of it."""
        for reply in netlink.messages(data):
            if reply.flags & netlink.DUMP_INTERRUPTED:
                raise KernelError("reading everything", errno.EINTR, "it changed meanwhile")
            if reply.kind in (netlink.ERROR, netlink.DONE):
                number, text = netlink.refusal(reply)
                if number:
                    raise KernelError("reading everything", number, text)
                if reply.sequence == 2:
                    return True
                self._ask(rtnetlink.list_addresses(), 2)
                continue
            entry = rtnetlink.change(reply)
            if isinstance(entry, rtnetlink.LinkEntry):
                self._links[entry.index] = entry
            elif isinstance(entry, rtnetlink.AddressEntry):
                self._addresses[links.key_of(entry)] = self._table.known(entry)
        return False

    def _ask(self, request: netlink.Request, sequence: int) -> None:
        assert self._socket is not None
        self._socket.send(
            netlink.message(request.kind, request.flags | netlink.DUMP, request.body, sequence)
        )

    def _give_up(self, reason: str) -> None:
        log.debug("survey: %s", reason)
        self.failed = True
        self.close()
