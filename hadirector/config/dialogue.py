"""`type: expect` -> Dialogue: a preset, or what is sent and awaited step by step.

preset: redis
dialogue: [{expect: "^220 "}, {send: "QUIT\r\n"}, {expect: "^221 "}]
send: "PING\r\n"            one exchange
expect: "PONG"
"""

from hadirector.config import payload, scalars
from hadirector.config.problem import listed
from hadirector.config.reader import Section
from hadirector.core.settings.questions import Dialogue, Preset, Step, Transport

MOST = 64  # steps

_ONLY = {
    "auth_file": frozenset(Preset) - {Preset.SIP, Preset.PGSQL},
    "user": frozenset({Preset.MYSQL, Preset.PGSQL}),
    "name": frozenset({Preset.LDAP, Preset.PGSQL, Preset.SIP}),
    "secret_file": frozenset({Preset.RADIUS}),
    "protocol": frozenset({Preset.SIP}),
}
_DATAGRAMS = frozenset({Preset.SIP, Preset.RADIUS})
_OWN_TLS = frozenset({Preset.MYSQL, Preset.PGSQL})  # they agree on it in their own protocol


def read(section: Section) -> Dialogue:
    """The dialogue of one check."""
    preset = section.read("preset", scalars.choice(Preset), None)
    steps = _steps(section)
    ways = [key for key in ("preset", "dialogue") if section.has(key)]
    ways += ["send"] if section.has("send") else ["expect"] if section.has("expect") else []
    if not ways:
        text = f"'preset' is missing: add 'preset: {Preset.REDIS.value}', or a 'dialogue'"
        section.error(section.at, "", text)
    elif len(ways) > 1:
        text = f"{listed(tuple(ways))} are two dialogues: keep one"
        section.error(section.key_at(ways[1]), ways[1], text)
    _lint(section, preset)
    default = Transport.UDP if preset in _DATAGRAMS else Transport.TCP
    return Dialogue(
        preset=preset,
        steps=steps,
        transport=section.read("protocol", scalars.choice(Transport), default),
        user=section.read("user", scalars.text, ""),
        name=section.read("name", scalars.text, ""),
        secret_file=section.read("secret_file", scalars.path, None),
    )


def _lint(section: Section, preset: Preset | None) -> None:
    for key, presets in _ONLY.items():
        known = preset is not None or not section.has("preset")  # one mistake is told, not two
        if section.has(key) and known and preset not in presets:
            names = tuple(sorted(one.value for one in presets))
            text = f"is for the presets {listed(names)}: remove it"
            section.error(section.key_at(key), key, text)
    if preset is Preset.RADIUS and not section.has("secret_file"):
        text = "'secret_file' is missing: add 'secret_file: /etc/hadirector/radius.secret'"
        section.error(section.at, "", text)
    if preset in _OWN_TLS and section.has("tls"):
        text = f"is of no use: {preset.value if preset else ''} begins without TLS; remove it"
        section.error(section.key_at("tls"), "tls", text)
    datagrams = preset in _DATAGRAMS and section.node.entries.get("protocol") is None
    if datagrams and section.has("tls"):
        text = f"is for TCP, and {preset.value if preset else ''} asks by UDP: remove it"
        section.error(section.key_at("tls"), "tls", text)


def _steps(section: Section) -> tuple[Step, ...]:
    if not section.has("dialogue"):
        found = []
        if section.has("send"):
            found.append(Step(send=section.read("send", payload.payload, b"")))
        if section.has("expect"):
            found.append(Step(expect=section.read("expect", payload.expected, "")))
        return tuple(found)
    items = section.items("dialogue")
    if not items or len(items) > MOST:
        text = f"needs 1 to {MOST} steps: [{{send: ..}}, {{expect: ..}}]"
        section.error(section.value_at("dialogue"), "dialogue", text)
    steps = []
    for item in items:
        step = section.under("dialogue", item)
        if step is None:
            continue
        if step.has("send") is step.has("expect"):
            step.error(step.at, "", "a step is one thing: {send: ..} or {expect: ..}")
        send = step.read("send", payload.payload, None)
        expect = step.read("expect", payload.expected, "")
        step.close()
        steps.append(Step(send, expect))
    return tuple(steps)
