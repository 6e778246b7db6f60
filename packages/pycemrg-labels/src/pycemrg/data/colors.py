"""Colours: as manifests write them, as four channels, and made up for labels without one."""

import colorsys
from typing import NamedTuple


class RGBA(NamedTuple):
    """Red, green, blue and opacity, each from 0 to 255."""

    red: int
    green: int
    blue: int
    opacity: int = 255

    def text(self) -> str:
        """Return ``#rrggbb``, or ``#rrggbbaa`` if the colour is not opaque.

        Example:
            >>> RGBA(161, 0, 92).text(), RGBA(0, 0, 0, 0).text()
            ('#a1005c', '#00000000')
        """
        return "#" + bytes(self[:3] if self.opacity == 255 else self).hex()


def parse(text: str) -> RGBA:
    """Return the channels of ``#rrggbb`` or ``#rrggbbaa``.

    Example:
        >>> parse("#a1005c")
        RGBA(red=161, green=0, blue=92, opacity=255)
    """
    return RGBA(*bytes.fromhex(text[1:]))


def made_up(value: int) -> RGBA:
    """Return a colour for a label that has none: always the same for a value, nothing for 0.

    Neighbouring values are a golden section of the colour circle apart, so that they differ
    clearly.

    Example:
        >>> made_up(0), made_up(1)
        (RGBA(red=0, green=0, blue=0, opacity=0), RGBA(red=80, green=124, blue=230, opacity=255))
    """
    if value == 0:
        return RGBA(0, 0, 0, 0)
    hue = value * 0.6180339887498949 % 1
    saturation = (0.65, 0.45, 0.85)[value // 16 % 3]
    channels = colorsys.hsv_to_rgb(hue, saturation, 0.9)
    return RGBA(*(round(channel * 255) for channel in channels))
