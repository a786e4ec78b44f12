"""Drawings in SVG as PNG, by resvg: for data sets whose images come as SVG, when they are fetched."""

import io
import xml.etree.ElementTree as ET

import PIL.Image

from s2igan.errors import InputError

SIDE = 320  # pixels of the longer side: scale=paper loads 304
PROBE = 800  # pixels in which an object of a scene is first looked for
INSTALL = 'python -m pip install -e ".[svg]"'

_SVG, _HREF = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
_OWN = ("id", "x", "y", "width", "height", "viewBox")  # of an ancestor: what it does not hand down


def draw(body: str, box: tuple[float, float, float, float], side: int) -> PIL.Image.Image:
    """What is seen of the SVG elements `body` in `box` (x, y, width, height), RGBA, the longer side `side` pixels.

    No text is drawn: it would be in another font on each machine. InputError where resvg is missing or refuses it.
    """
    try:
        import resvg_py
    except ImportError:
        raise InputError(f"resvg-py: not installed; in the clone give: {INSTALL}") from None
    x, y, width, height = box
    scale = side / max(width, height)
    document = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{x:g} {y:g} {width:g} {height:g}" width="{width * scale:g}" height="{height * scale:g}">{body}</svg>'
    )
    try:
        return PIL.Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=document, skip_system_fonts=True))))
    except ValueError as error:
        raise InputError(f"not an SVG that resvg draws ({error}); fetch the data set again") from None


def encoded(image: PIL.Image.Image) -> bytes:
    """`image` as PNG."""
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()


class Scene:
    """An SVG document, objects of which are drawn alone."""

    def __init__(self, document: bytes):
        root = ET.fromstring(document)
        self._elements = {element.get("id"): element for element in root.iter()}
        self._parent = {child: parent for parent in root.iter() for child in parent}
        size = root.get("viewBox") or f"0 0 {root.get('width')} {root.get('height')}"
        self.width, self.height = (float(value) for value in size.split()[2:])
        defs = ET.Element(f"{_SVG}defs")
        defs.extend(root)
        self._defs = ET.tostring(defs, encoding="unicode")

    def object(self, name: str) -> PIL.Image.Image:
        """The object of this id, as where it stands, cut out: RGBA, the longer side some SIDE pixels.

        InputError if there is no such object, or nothing is seen of it.
        """
        if name not in self._elements:
            raise InputError(f"no object {name}; fetch the data set again")
        drawn = ET.Element(f"{_SVG}use", {_HREF: f"#{name}"})
        element = self._elements[name]
        while (element := self._parent.get(element)) is not None:
            group = ET.Element(f"{_SVG}g", {key: value for key, value in element.items() if key not in _OWN})
            group.append(drawn)
            drawn = group
        body = self._defs + ET.tostring(drawn, encoding="unicode")
        # Objects may lie beside the page, and small in it.
        box = (-self.width, -self.height, 3 * self.width, 3 * self.height)
        for side in (PROBE, SIDE):
            image = draw(body, box, side)
            seen = image.getbbox()
            if seen is None:
                raise InputError(f"nothing is seen of object {name}; fetch the data set again")
            unit, margin = max(box[2:]) / side, 2 * (side == PROBE)
            left, top = (box[i] + (seen[i] - margin) * unit for i in (0, 1))
            box = (left, top, (seen[2] - seen[0] + 2 * margin) * unit, (seen[3] - seen[1] + 2 * margin) * unit)
        return image.crop(seen)
