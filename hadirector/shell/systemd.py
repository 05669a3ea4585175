"""sd_notify(3): what the service manager is told, over the socket it named."""

import os
import socket


class Notify:
    """The manager's socket, or nothing where none was given."""

    def __init__(self, environment: dict[str, str] | None = None) -> None:
        env = dict(os.environ) if environment is None else environment
        self._path = env.get("NOTIFY_SOCKET", "")
        # Watchdog of another process is not ours (sd_watchdog_enabled(3)).
        ours = env.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self.watchdog = int(env.get("WATCHDOG_USEC", "0")) / 1e6 if ours else 0.0

    def tell(self, *lines: str) -> None:
        """Send `NAME=value` lines; a manager that does not listen is not our trouble."""
        if not self._path:
            return
        address = "\0" + self._path[1:] if self._path.startswith("@") else self._path
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
            try:
                sock.sendto("\n".join(lines).encode(), address)
            except OSError:
                return
