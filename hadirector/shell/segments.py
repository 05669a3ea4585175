"""What an election process has on the segments: mouth and ears for adverts, announcements, and
questions to those who could answer.

Everything that comes in is put into the inbox; nothing here waits for anybody.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from functools import partial

from hadirector.core import election_types as et
from hadirector.core.address import Family
from hadirector.core.vmac import VirtualDevice
from hadirector.shell import announce, delivery, gateway, rtnetlink, vmac_socket, vrrp_socket
from hadirector.shell.links import Table
from hadirector.shell.netlink import KernelError

log = logging.getLogger(__name__)


class Segments:
    """Sockets for the interfaces that matter; `put` takes what they hear."""

    def __init__(
        self, route: rtnetlink.Route, table: Table, put: Callable[[et.Input], None]
    ) -> None:
        works = delivery.Delivery(route, table).works
        self.announcements = announce.Announcements(table.hardware, works)
        self._table = table
        self._put = put
        self._sockets = vrrp_socket.VrrpSockets(self._open, self._forget)
        self._virtual_macs = vmac_socket.VirtualMacs(put)
        self._gateways = gateway.Gateways(route)

    def expect(self, instances: int) -> None:
        """Make room for the adverts of so many at once."""
        self._sockets.expect(instances)

    def listen(self, speaking: set[tuple[str, Family]], interfaces: frozenset[str]) -> et.DeafEars:
        """Listen where instances speak; what cannot be heard. On `interfaces` some router is left:
        one that was removed listens until it has left."""
        speaking = speaking | {key for key in self._sockets.open if key[0] in interfaces}
        indexes = {key: self._table.index(key[0]) for key in speaking}
        self._sockets.keep({key: at for key, at in indexes.items() if at is not None})
        return et.DeafEars(self._sockets.deaf)

    def keep(self, devices: Iterable[VirtualDevice]) -> None:
        """Speak from these virtual MACs."""
        self._virtual_macs.keep((d, self._table.index(d.name)) for d in devices)

    def receive(self) -> None:
        """What lies ready."""
        for packet in (*self._sockets.receive(), *self._virtual_macs.receive()):
            self._put(packet)

    def send(self, action: et.SendAdvert) -> None:
        """An advert, now."""
        way, message, source = action.interface, action.message, action.source
        if action.hardware:
            send = partial(self._virtual_macs.send, way, action.hardware)
        else:
            send = partial(self._sockets.send, way)
        reason = send(message, source, action.destination)
        if reason:
            log.debug("instance=%s advert not sent: %s", action.instance, reason)
            self._put(et.SendFailed(action.instance, action.family, reason))

    def announce(self, now: float) -> bool:
        """A burst of what waits to be announced; whether some is left that need not wait."""
        if not self.announcements.waiting:
            return False
        present = self._table.present(self.announcements.interfaces())
        left = self.announcements.send(present, now)
        for virtual in self.announcements.take_failed():
            self._put(et.AnnounceFailed(virtual))
        return left

    def ask(self, question: et.AskGateway | et.AskHolder, now: float) -> None:
        """Ask; what is answered is found by `look_for_answers`."""
        interface = question.interface
        index = self._table.index(interface)
        if index is None:
            return
        try:
            if isinstance(question, et.AskHolder):
                self._gateways.ask_holder(interface, index, question.address, now)
            else:
                self._gateways.ask(interface, index, now)
        except KernelError as error:
            log.debug("interface=%s not asked: %s", interface, error)

    def look_for_answers(self, now: float) -> None:
        """Whether who was asked has answered."""
        if not self._gateways.waiting:
            return
        try:
            for interface in self._gateways.answered(now):
                self._put(et.NetworkHeard(interface))
            for interface, held in self._gateways.held(now):
                self._put(et.HolderHeard(interface, held))
        except KernelError as error:
            log.debug("gateways: %s", error)

    def close(self) -> None:
        """Say and hear nothing any more."""
        self.announcements.close()
        self._virtual_macs.close()
        self._sockets.close()

    def _open(self, sock: vrrp_socket.VrrpSocket) -> None:
        def readable() -> None:
            for packet in sock.receive():
                self._put(packet)

        asyncio.get_running_loop().add_reader(sock.fileno(), readable)

    def _forget(self, sock: vrrp_socket.VrrpSocket) -> None:
        asyncio.get_running_loop().remove_reader(sock.fileno())
        self.announcements.forget(sock.interface)
        self._virtual_macs.forget(sock.interface)
