"""`ipvs:` -> the kernel's settings of IPVS that are another than the default here.

conntrack: 1        as /proc/sys/net/ipv4/vs/conntrack has it
sloppy_tcp: keep    neither ours nor the default: whatever the operator has set
"""

from hadirector.config import scalars
from hadirector.config.problem import Wrong
from hadirector.config.reader import Parse, Section
from hadirector.config.tree import Scalar, Tree
from hadirector.core.sysctls import TUNABLE, Tunable


def read(root: Section) -> tuple[tuple[str, str | None], ...]:
    """The settings written that are no default, in the order of the table; None where the
    operator's is kept."""
    section = root.section("ipvs")
    if section is None:
        return ()
    found = tuple(
        (name, value)
        for name, tunable in TUNABLE.items()
        if section.has(name)
        for value in (section.read(name, _setting(tunable), tunable.default),)
        if value != tunable.default or name == "sloppy_tcp"  # whose default is decided later
    )
    section.close()
    return found


def _setting(tunable: Tunable) -> Parse[str | None]:
    number = scalars.integer(tunable.low, tunable.high)

    def parse(tree: Tree) -> str | None:
        if isinstance(tree, Scalar) and tree.text == "keep":
            return None
        try:
            return str(number(tree))
        except Wrong as wrong:
            text = f"{wrong.text}; or keep, for what is set already ({tunable.why})"
            raise Wrong(text) from None

    return parse
