"""How a friend gets onto the court: the link, as a picture for the camera of a phone beside us."""

import base64

import qrcode
from qrcode.image.svg import SvgPathImage

QUIET = 2  # modules around it: the box that it stands in has more


def qr_code(url: str) -> str:
    """The QR code of `url` as the address of a picture (SVG), dark on nothing."""
    image = qrcode.make(url, image_factory=SvgPathImage, border=QUIET)
    return f"data:image/svg+xml;base64,{base64.b64encode(image.to_string()).decode()}"
