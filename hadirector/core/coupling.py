"""Which virtual routers move together: the two families of a coupled instance, and sync groups."""

from collections.abc import Iterable

from hadirector.core.address import Family
from hadirector.core.settings.instances import Instance, SyncGroup

Key = tuple[str, Family]
"""A virtual router of this node: its instance's name and its family."""


def groups(instances: Iterable[Instance], sync_groups: Iterable[SyncGroup]) -> dict[Key, list[Key]]:
    """For each router all that move with it, itself included, in the instances' order.

    A sync group takes in every family of its instances; groups that share an instance are one.
    """
    keys = [(i.name, family) for i in instances for family in i.families()]
    ties = [
        [key for key in keys if key[0] == instance.name]
        for instance in instances
        if instance.couple
    ]
    ties += [[key for key in keys if key[0] in group.instances] for group in sync_groups]
    joined = {key: {key} for key in keys}
    for tie in ties:
        union = set[Key]().union(*(joined[key] for key in tie))
        for key in union:
            joined[key] = union
    return {key: [other for other in keys if other in joined[key]] for key in keys}
