"""Connection sync as most tests configure it; each changes what it is about."""

from hadirector.core.address import Address
from hadirector.core.settings.cluster import ConnectionSync, ResyncPolicy, SyncTransport

SYNC = ConnectionSync(
    interface="eth1",
    sync_id=51,
    group=Address("224.0.0.81"),
    port=8848,
    transport=SyncTransport.KERNEL,
    resync=ResyncPolicy.ON_JOIN,
)
