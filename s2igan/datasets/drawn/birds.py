"""Drawn birds: an image of known attributes, seen from the side, pleasant to look at.

Everything is laid out in frame units (the image is 1 wide and 1 high, x right, y down), so that the
same bird and pose give the same image at any size. Sharp shapes are polygons filled on a finer grid
and averaged down; soft shading is worked out once on a coarse grid and enlarged.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from s2igan.parallel import ordered_map

PARTS = ("crown", "back", "belly", "wing", "tail", "bill")

COLOURS = {
    "red": (208, 36, 44),
    "orange": (244, 132, 26),
    "yellow": (250, 216, 58),
    "green": (58, 152, 70),
    "blue": (42, 96, 202),
    "brown": (112, 68, 42),
    "black": (36, 36, 42),
    "white": (247, 245, 240),
}

LENGTHS = ("short", "long")
SIZES = ("small", "large")
HABITATS = ("branch", "meadow", "water", "reeds")

GRID = 64  # side of the coarse grid of the soft shading
INK = np.array((58, 48, 50), np.float32)  # the silhouette's outline
LEG = np.array((122, 104, 100), np.float32)


@dataclass(frozen=True)
class Bird:
    """What a caption can speak of. `colours` follows PARTS; every value is one of this module's names."""

    colours: tuple[str, ...]
    bill_length: str = "short"
    tail_length: str = "short"
    size: str = "small"
    habitat: str = "branch"

    def colour(self, part: str) -> str:
        """The colour's name of one of PARTS."""
        return self.colours[PARTS.index(part)]


@dataclass(frozen=True)
class Pose:
    """What differs between two images of one bird and is in no caption. Angles in degrees."""

    facing_left: bool = False
    tilt: float = 0.0  # of the body; positive lifts the head
    head: float = 0.0  # of the head about its middle; positive looks up
    tail: float = 0.0  # of the tail about its root; positive lifts it
    crest: float = 0.3  # how far the feathers of the crown are raised, 0 to 1
    shift_x: float = 0.0  # frame units
    shift_y: float = 0.0
    scale: float = 1.0
    light: float = 110.0  # direction of the light, anticlockwise from the right
    warmth: float = 0.0  # -1 (cool) to 1 (warm)
    brightness: float = 1.0
    texture: int = 0  # seed of the plumage: small hue shifts and streaks
    backdrop: int = 0  # seed of the background


def random_pose(rng: np.random.Generator) -> Pose:
    """A natural pose; a pure function of the generator's state."""
    return Pose(
        facing_left=bool(rng.random() < 0.5),
        tilt=float(rng.uniform(-7, 7)),
        head=float(rng.uniform(-11, 11)),
        tail=float(rng.uniform(-10, 14)),
        crest=float(rng.uniform(0, 1)),
        shift_x=float(rng.uniform(-0.015, 0.015)),
        shift_y=float(rng.uniform(-0.02, 0.02)),
        scale=float(rng.uniform(0.96, 1.02)),
        light=float(rng.uniform(60, 130)),
        warmth=float(rng.uniform(-1, 1)),
        brightness=float(rng.uniform(0.95, 1.04)),
        texture=int(rng.integers(2**31)),
        backdrop=int(rng.integers(2**31)),
    )


def random_bird(rng: np.random.Generator) -> Bird:
    """A bird whose attributes are drawn one by one, so that no part tells another's colour."""
    names = tuple(COLOURS)
    return Bird(
        colours=tuple(names[i] for i in rng.integers(len(names), size=len(PARTS))),
        bill_length=LENGTHS[rng.integers(2)],
        tail_length=LENGTHS[rng.integers(2)],
        size=SIZES[rng.integers(2)],
        habitat=HABITATS[rng.integers(len(HABITATS))],
    )


def render(bird: Bird, pose: Pose, size: int) -> np.ndarray:
    """Draw the bird: (size, size, 3) uint8, anti-aliased, the same image at every size of 8 or more."""
    rgb = _draw(bird, pose, size).rgb
    image = np.clip(rgb + 0.5, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(image[:, ::-1]) if pose.facing_left else image


def render_random(count: int, size: int, seed: int, workers: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Birds whose part colours are drawn independently, each a function of its number, `size` and `seed`.

    Yields uint8 (3, size, size) and the number of each part's colour, (parts,), in the order of PARTS and COLOURS.
    """
    yield from ordered_map(partial(_render_random, size=size, seed=seed), range(count), workers)


def _render_random(index: int, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng([seed, index])
    bird = random_bird(rng)
    colours = np.array([list(COLOURS).index(bird.colour(part)) for part in PARTS])
    return render(bird, random_pose(rng), size).transpose(2, 0, 1), colours


# ---------------------------------------------------------------- shapes: (n, 2) arrays of points


def _smooth(points, closed: bool = True) -> np.ndarray:
    """Catmull-Rom curve through the points."""
    p = np.asarray(points, np.float64)
    if closed:
        before, after, last = np.roll(p, 1, 0), np.roll(p, -1, 0), np.roll(p, -2, 0)
    else:
        padded = np.concatenate([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
        before, p, after, last = padded[:-3], padded[1:-2], padded[2:-1], padded[3:]
    steps = 7  # from one point to the next
    t = (np.arange(steps) / steps)[None, :, None]
    a, b, c, d = (x[:, None] for x in (before, p, after, last))
    curve = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    curve = curve.reshape(-1, 2)
    return curve if closed else np.concatenate([curve, after[-1:]])


def _turn(points, degrees: float) -> np.ndarray:
    """Rotate about the origin; positive is anticlockwise as seen (y points down)."""
    a = np.deg2rad(degrees)
    return np.asarray(points, np.float64) @ np.array(((np.cos(a), -np.sin(a)), (np.sin(a), np.cos(a))))


def _feather(root, tip, width: float, bluntness: float) -> np.ndarray:
    """A long leaf with a rounded tip, half as wide at its root."""
    root, tip = np.asarray(root, np.float64), np.asarray(tip, np.float64)
    along = tip - root
    across = np.array((-along[1], along[0])) / np.hypot(*along) * width / 2
    t = np.arange(14) / 13
    half = (0.5 + 0.5 * np.sin(np.pi / 2 * np.minimum(t / 0.6, 1))) * np.sqrt(
        1 - np.maximum((t - bluntness) / (1 - bluntness), 0) ** 2
    )
    upper = root + t[:, None] * along + half[:, None] * across
    lower = root + t[:, None] * along - half[:, None] * across
    return np.concatenate([upper, lower[::-1]])


def _disc(centre, radius: float, squash: float = 1.0) -> np.ndarray:
    a = np.arange(28) * (2 * np.pi / 28)
    return np.asarray(centre) + radius * np.stack([np.cos(a), squash * np.sin(a)], 1)


class _Anatomy:
    """The outlines of one bird in one pose, placed in the frame."""

    def __init__(self, bird: Bird, pose: Pose):
        plump = 1.0 if bird.size == "large" else 0.94
        axis = 43 + pose.tilt  # of the body above the horizontal
        head_radius = 0.205

        def body(points):  # (along the axis towards the head, towards the belly)
            return _turn(np.asarray(points) * (plump, plump), axis)

        self.neck = body((0.245, -0.13))
        look = pose.head + 4

        def head(points):  # in head radii from the head's middle
            return _turn(np.asarray(points) * head_radius, look) + self.neck

        self.body = _smooth(body([
            (0.29, 0.08), (0.24, 0.225), (0.07, 0.285), (-0.14, 0.22), (-0.29, 0.08),
            (-0.32, -0.06), (-0.20, -0.20), (0.01, -0.272), (0.20, -0.245), (0.31, -0.10),
        ]))  # fmt: skip
        self.head = _smooth(head(_disc((0, 0), 1.0)[::2]))
        # The back runs from under the crown to the tail; what falls outside the body is clipped.
        nape = head((-0.62, 0.28))
        self.back = _smooth(np.concatenate([
            [head((-1.3, -0.3)), nape, head((-0.5, 0.75))],
            body([(0.10, -0.01), (-0.08, 0.04), (-0.26, 0.06), (-0.37, 0.05), (-0.42, -0.12),
                  (-0.24, -0.29), (0.04, -0.35)]),
        ]))  # fmt: skip
        raised = 0.5 * pose.crest
        self.crown = _smooth(head([
            (0.98, -0.18), (0.86, -0.58), (0.48, -0.94), (0.0, -1.07),
            (-0.45, -1.02 - 0.10 * raised), (-0.82, -0.93 - 0.45 * raised),
            (-1.20 - 0.30 * raised, -0.88 - 0.90 * raised), (-1.07, -0.56 - 0.25 * raised),
            (-1.02, -0.22), (-0.98, 0.06), (-0.78, 0.20), (-0.45, 0.10), (-0.10, -0.09),
            (0.30, -0.25), (0.66, -0.21),
        ]))  # fmt: skip
        reach = 1.72 if bird.bill_length == "short" else 2.18
        depth = 0.50 if bird.bill_length == "short" else 0.43
        middle = 0.14
        self.bill = _smooth(head([
            (0.60, middle - 0.62 * depth), (0.84, middle - depth),
            (1.10, middle - 0.93 * depth), (0.5 * (1.05 + reach), middle - 0.48 * depth),
            (reach - 0.05, middle + 0.10), (reach, middle + 0.24),
            (0.45 * (0.95 + reach), middle + 0.58 * depth),
            (1.02, middle + 0.80 * depth), (0.80, middle + 0.76 * depth), (0.60, middle + 0.2),
        ]))  # fmt: skip
        self.mouth = _smooth(
            head([(0.74, middle + 0.10), (1.2, middle + 0.05), (reach - 0.10, middle + 0.20)]),
            closed=False,
        )
        self.nostril = _disc(head((1.04, middle - 0.42 * depth)), 0.09 * 0.16)
        self.strands = [
            _smooth(head([(x, y), (x - 0.16, y - 0.03), (x - 0.32, y + 0.05)]), closed=False)
            for x, y in ((0.46, -0.68), (0.0, -0.80), (-0.46, -0.74), (-0.12, -0.46), (-0.58, -0.36))
        ]
        self.eye = head((0.30, 0.02))
        self.eye_radius = 0.20 * head_radius

        root = body((-0.25, 0.0))
        length = 0.285 if bird.tail_length == "short" else 0.38
        spread = 16 if bird.tail_length == "short" else 10
        fall = 208 + 0.35 * pose.tilt - pose.tail  # where the tail points
        self.tail = []
        for k in (-1.5, 1.5, -0.5, 0.5):
            a = np.deg2rad(fall + spread * k)
            tip = root + length * (1 - 0.03 * abs(k)) * np.array((np.cos(a), -np.sin(a)))
            self.tail.append(_feather(root, tip, 0.126 * plump, 0.72))

        # Flight feathers fan out under a rounded shoulder.
        self.quills = []
        for k in range(4):
            start = body((0.06 - 0.035 * k, 0.055 + 0.012 * k))
            tip = body((-0.355 + 0.075 * k, 0.075 + 0.034 * k))
            self.quills.append(_feather(start, tip, 0.095, 0.7))
        self.shoulder = _smooth(body([
            (0.175, 0.055), (0.15, -0.025), (0.05, -0.055), (-0.10, -0.04), (-0.25, 0.02),
            (-0.20, 0.09), (-0.09, 0.155), (0.04, 0.18), (0.135, 0.145),
        ]))  # fmt: skip
        self.scallops = []
        for u, rows in ((0.055, 3), (-0.035, 3), (-0.12, 2)):
            for j in range(rows):
                v = -0.008 + 0.058 * j + 0.012 * (u < 0)
                self.scallops.append(_smooth(
                    body([(u + 0.02, v - 0.027), (u - 0.022, v - 0.012), (u - 0.022, v + 0.014),
                          (u + 0.02, v + 0.029)]), closed=False,
                ))  # fmt: skip
        self.down = [
            _smooth(body([(u + 0.02, v), (u - 0.004, v + 0.012), (u + 0.006, v + 0.034)]), False)
            for u, v in ((0.22, 0.09), (0.11, 0.215), (0.01, 0.225), (0.25, 0.0), (0.18, 0.17))
        ]

        feet = []
        for u in (0.03, -0.055):
            hip = body((u, 0.235))
            feet.append((hip, hip + (0.012, 0.075 + 0.02 * plump)))
        self.ground = max(foot[1] for _, foot in feet)
        self.legs = [(hip, np.array((foot[0], self.ground))) for hip, foot in feet]
        self._place(pose, plump)

    def _place(self, pose: Pose, plump: float) -> None:
        """Centre the bird, then move it as the pose says, and keep it inside the frame."""
        hull = np.concatenate([self.body, self.head, self.crown, self.bill, *self.tail])
        low, high = hull.min(0), np.maximum(hull.max(0), (-9, self.ground + 0.02))
        scale = pose.scale * (1.0 if plump == 1.0 else 0.985)
        scale = min(scale, *(0.95 / (high - low)))
        room = np.maximum(0, (0.97 - scale * (high - low)) / 2)
        shift = np.clip((pose.shift_x, pose.shift_y), -room, room)
        offset = 0.5 + shift - scale * (low + high) / 2
        for name, value in vars(self).items():
            if name == "ground":
                self.ground = value * scale + offset[1]
            elif name == "eye_radius":
                self.eye_radius = value * scale
            elif isinstance(value, list):
                setattr(self, name, [np.asarray(x) * scale + offset for x in value])
            else:
                setattr(self, name, value * scale + offset)


# ---------------------------------------------------------------- paint


class _Paint:
    """One plumage colour: its own tone, what light and shade make of it, and its contour."""

    def __init__(self, name: str, jitter: np.ndarray):
        base = np.array(COLOURS[name], np.float32)
        if name == "white":  # a tint shows most where there is no hue to hide it
            jitter = 0.35 * jitter
        base = np.clip(base * (1 + jitter), 0, 255)
        if name == "black":  # drawn in light lines: dark ones would not show
            self.light, self.shade = base + (52, 54, 66), base * 0.45
            self.line = base + (70, 72, 82)
        elif name == "white":
            self.light, self.shade = np.minimum(base + 8, 255), base * (0.74, 0.76, 0.82)
            self.line = base * (0.58, 0.58, 0.63)
        else:
            self.light = base + (255 - base) * 0.36
            # a deep shade would turn yellow into orange
            self.shade = base * ((0.80, 0.77, 0.62) if name == "yellow" else (0.62, 0.58, 0.68))
            self.line = base * (0.46, 0.40, 0.48)
        self.base = base.astype(np.float32)
        self.light, self.shade, self.line = (np.asarray(x, np.float32) for x in (self.light, self.shade, self.line))

    def toned(self, tone: np.ndarray) -> np.ndarray:
        """tone (h, w) in [-1, 1], shade to light -> (h, w, 3)."""
        tone = np.clip(tone, -1, 1)[..., None]
        up, down = np.maximum(tone, 0), np.maximum(-tone, 0)
        return self.base + up * (self.light - self.base) + down * (self.shade - self.base)


class _Canvas:
    """The image under work: `rgb` (size, size, 3) float32 and `owner` (size, size) int8."""

    def __init__(self, size: int):
        self.size = size
        self.finer = 4 if size <= 160 else 3
        self.rgb = np.zeros((size, size, 3), np.float32)
        self.owner = np.full((size, size), -1, np.int8)

    def cover(self, shapes: list[np.ndarray], width: float = 0.0):
        """How much of each pixel the shapes cover: a box of the image and (h, w) float32 in [0, 1].

        width 0 fills closed polygons; otherwise open lines of that width in frame units are drawn.
        """
        points = np.concatenate(shapes)
        margin = width + 1.5 / self.size
        x0, y0 = np.clip(np.floor((points.min(0) - margin) * self.size), 0, self.size).astype(int)
        x1, y1 = np.clip(np.ceil((points.max(0) + margin) * self.size), 0, self.size).astype(int)
        box = np.s_[y0:y1, x0:x1]
        if x1 <= x0 or y1 <= y0:
            return box, np.zeros((max(y1 - y0, 0), max(x1 - x0, 0)), np.float32)
        k = self.finer
        mask = Image.new("L", ((x1 - x0) * k, (y1 - y0) * k))
        draw = ImageDraw.Draw(mask)
        for shape in shapes:
            # Pillow's pixel centres lie on whole numbers
            xy = ((shape * self.size - (x0, y0)) * k - 0.5).ravel().tolist()
            if width:
                draw.line(xy, fill=255, width=max(1, round(width * self.size * k)))
            else:
                draw.polygon(xy, fill=255)
        return box, np.asarray(mask.reduce(k), np.float32) / 255

    def lay(self, box, cover: np.ndarray, colour: np.ndarray, part: int | None = None) -> None:
        """Put colour (3,) or (h, w, 3) over the box as far as cover (h, w) says."""
        region = self.rgb[box]
        region += cover[..., None] * (colour - region)
        if part is not None:
            self.owner[box][cover > 0.5] = part

    def fill(self, shapes, colour, alpha: float = 1.0) -> None:
        box, cover = self.cover(shapes)
        self.lay(box, cover * alpha, colour)

    def stroke(self, lines, width: float, colour, alpha: float = 1.0, clip=None) -> None:
        box, cover = self.cover(lines, width)
        if clip is not None:
            cover = cover * clip[box]
        self.lay(box, cover * alpha, colour)

    def outline(self, shapes, width: float, colour, alpha: float, clip=None) -> None:
        self.stroke([np.concatenate([s, s[:2]]) for s in shapes], width, colour, alpha, clip)

    def enlarge(self, coarse: np.ndarray) -> np.ndarray:
        """A soft field (any, any) -> (size, size) float32."""
        image = Image.fromarray(np.ascontiguousarray(coarse, np.float32))
        return np.asarray(image.resize((self.size, self.size), Image.Resampling.BICUBIC))

    def shadow(self, shapes, blur: float, offset, alpha: float, clip: np.ndarray) -> None:
        """Darken what lies under the shapes (frame units), only where clip (size, size) is 1."""
        soft = _soft([s + offset for s in shapes], blur)
        dim = 1 - alpha * np.clip(self.enlarge(soft), 0, 1) * clip
        self.rgb *= dim[..., None]


def _soft(shapes: list[np.ndarray], blur: float) -> np.ndarray:
    """The shapes out of focus on the coarse grid: (GRID, GRID) float32 in [0, 1]."""
    mask = Image.new("L", (2 * GRID, 2 * GRID))
    draw = ImageDraw.Draw(mask)
    for shape in shapes:
        draw.polygon((shape * 2 * GRID - 0.5).ravel().tolist(), fill=255)
    mask = mask.reduce(2).filter(ImageFilter.GaussianBlur(blur * GRID))
    return np.asarray(mask, np.float32) / 255


def _relief(shapes: list[np.ndarray], blur: float, light: float) -> np.ndarray:
    """Light and shade of a cushion of this outline: (GRID, GRID), positive towards the light."""
    soft = _soft(shapes, blur)
    a, reach = np.deg2rad(light), max(1.0, blur * GRID)
    dx, dy = round(float(np.cos(a) * reach)), round(float(-np.sin(a) * reach))
    towards = np.roll(soft, (-dy, -dx), (0, 1))
    away = np.roll(soft, (dy, dx), (0, 1))
    return 0.95 * (away - towards) - 0.30 * (1 - soft)


def _noise(rng: np.random.Generator, cells: int, canvas: _Canvas, stretch: int = 1) -> np.ndarray:
    """Soft mottling of standard deviation about 1: (size, size)."""
    return canvas.enlarge(rng.standard_normal((cells, max(2, cells // stretch))))


# ---------------------------------------------------------------- the image


def _draw(bird: Bird, pose: Pose, size: int) -> _Canvas:
    canvas = _Canvas(size)
    anatomy = _Anatomy(bird, pose)
    _background(canvas, anatomy, bird.habitat, np.random.default_rng(pose.backdrop))
    _plumage(canvas, anatomy, bird, pose)
    if bird.habitat == "meadow":
        _meadow_front(canvas, anatomy, np.random.default_rng(pose.backdrop + 1))
    warm = 1 + 0.018 * pose.warmth * np.array((1, 0.1, -1), np.float32)
    canvas.rgb *= pose.brightness * warm
    return canvas


def _plumage(canvas: _Canvas, a: _Anatomy, bird: Bird, pose: Pose) -> None:
    rng = np.random.default_rng(pose.texture)
    paint = {}
    for part in PARTS:
        jitter = 0.035 * rng.uniform(-1, 1) + 0.03 * rng.uniform(-1, 1, 3)
        paint[part] = _Paint(bird.colour(part), jitter.astype(np.float32))
    streaks = 0.05 * _noise(rng, 26, canvas, 2)
    index = {part: i for i, part in enumerate(PARTS)}
    light = pose.light

    def relief(shapes, blur, strength=1.0):
        return canvas.enlarge(strength * _relief(shapes, blur, light)) + streaks

    def feathers(shapes, part, tone, darker):
        """Overlapping feathers, each with its own contour and a shade deeper than the next."""
        for k, shape in enumerate(shapes):
            box, cover = canvas.cover([shape])
            own = tone[box] - darker * (len(shapes) - 1 - k)
            canvas.lay(box, cover, paint[part].toned(own), index[part])
            canvas.outline([shape], 0.008, paint[part].line, 0.6)

    def solid(shapes, part, tone, clip=None):
        box, cover = canvas.cover(shapes)
        if clip is not None:
            cover = cover * clip[box]
        canvas.lay(box, cover, paint[part].toned(tone[box]), index[part])

    everything = [a.body, a.head, a.crown, a.bill, *a.tail]
    canvas.outline(everything, 0.017, INK, 0.75)

    feathers(a.tail, "tail", relief(a.tail, 0.035, 0.8), 0.06)
    shafts = [np.stack([0.75 * f[0] + 0.25 * f[13], 0.5 * (f[12] + f[15])]) for f in a.tail]
    canvas.stroke(shafts, 0.006, paint["tail"].line, 0.3)

    for hip, foot in a.legs:
        toes = [np.stack([foot, foot + (dx, dy)]) for dx, dy in
                ((0.04, 0.010), (0.022, 0.018), (-0.028, 0.012))]  # fmt: skip
        canvas.stroke([np.stack([hip, foot]), *toes], 0.021, INK, 0.55)
        canvas.stroke([np.stack([hip, foot]), *toes], 0.014, LEG)

    trunk = [a.body, a.head]
    box, cover = canvas.cover(trunk)
    inside = np.zeros((canvas.size, canvas.size), np.float32)
    inside[box] = cover
    volume = relief(trunk, 0.075)
    canvas.shadow([a.body], 0.02, (0.0, 0.012), 0.35, canvas.owner == index["tail"])
    solid(trunk, "belly", volume)
    canvas.stroke(a.down, 0.006, paint["belly"].line, 0.35)

    solid([a.back], "back", volume + 0.4 * canvas.enlarge(_relief([a.back], 0.03, light)), inside)
    canvas.outline([a.back], 0.008, paint["back"].line, 0.5, inside)

    canvas.shadow([a.shoulder, *a.quills], 0.02, (0.004, 0.018), 0.32, inside)
    wing = relief([a.shoulder, *a.quills], 0.045)
    feathers(a.quills[::-1], "wing", wing, 0.05)
    solid([a.shoulder], "wing", wing + 0.25 * canvas.enlarge(_relief([a.shoulder], 0.02, light)))
    canvas.outline([a.shoulder], 0.008, paint["wing"].line, 0.65)
    canvas.stroke(a.scallops, 0.007, paint["wing"].line, 0.5)

    canvas.shadow([a.crown], 0.015, (0.0, 0.012), 0.22, inside)
    solid([a.crown], "crown", 0.55 * volume + relief([a.crown], 0.035, 0.7))
    canvas.outline([a.crown], 0.008, paint["crown"].line, 0.55)

    canvas.stroke(a.strands, 0.006, paint["crown"].line, 0.35)

    canvas.shadow([a.bill], 0.015, (-0.004, 0.012), 0.25, inside)
    solid([a.bill], "bill", relief([a.bill], 0.028, 1.0) - streaks)
    canvas.outline([a.bill], 0.009, paint["bill"].line, 0.75)
    canvas.stroke([a.mouth], 0.009, paint["bill"].line, 0.75)
    canvas.fill([a.nostril], paint["bill"].line, 0.7)

    # A pale ring keeps the eye apart from black plumage, its dark rim from white.
    r, eye = a.eye_radius, a.eye
    canvas.fill([_disc(eye, 1.22 * r)], INK, 0.8)
    canvas.fill([_disc(eye, 1.08 * r)], np.array((236, 226, 206), np.float32))
    canvas.fill([_disc(eye, 0.84 * r)], np.array((34, 26, 28), np.float32))
    sparkle = eye + 0.34 * r * np.array((np.cos(np.deg2rad(light)), -np.sin(np.deg2rad(light))))
    canvas.fill([_disc(sparkle, 0.30 * r)], np.array((255, 255, 255), np.float32), 0.95)


# Muted middle tones, so that black and white plumage both stand out: (top, bottom, far shapes).
_SCENES = {
    "branch": ((176, 186, 186), (190, 190, 174), (156, 168, 156)),
    "meadow": ((178, 190, 192), (178, 184, 158), (156, 168, 142)),
    "water": ((186, 186, 186), (152, 168, 176), (164, 172, 174)),
    "reeds": ((188, 184, 174), (176, 176, 162), (164, 162, 142)),
}


def _background(canvas: _Canvas, a: _Anatomy, habitat: str, rng: np.random.Generator) -> None:
    top, bottom, far = (np.array(c, np.float32) for c in _SCENES[habitat])
    drift = rng.uniform(-7, 7, 3).astype(np.float32) + rng.uniform(-7, 7)
    y = ((np.arange(canvas.size, dtype=np.float32) + 0.5) / canvas.size)[:, None, None]
    canvas.rgb[:] = top + y * (bottom - top) + drift
    blots = []
    for _ in range(5):
        centre, radius = rng.uniform((0, 0.05), (1, 0.85)), rng.uniform(0.07, 0.17)
        blots.append(_disc(centre, radius, rng.uniform(0.7, 1.1)))
    haze = 0.55 * canvas.enlarge(_soft(blots, 0.03))[..., None]
    canvas.rgb += haze * (far + drift - canvas.rgb)
    canvas.rgb += 2.2 * _noise(rng, 9, canvas)[..., None]
    _SCENERY[habitat](canvas, a, rng, far + drift)


def _branch(canvas: _Canvas, a: _Anatomy, rng: np.random.Generator, far: np.ndarray) -> None:
    bark, leaf = far * (0.70, 0.62, 0.62), far * (0.80, 0.86, 0.74)
    slope, wave = rng.uniform(-0.05, 0.05), rng.uniform(0, 2 * np.pi)
    x = np.linspace(-0.1, 1.1, 9)
    y = a.ground + 0.035 + slope * (x - a.legs[0][1][0]) + 0.006 * np.sin(5 * x + wave)
    thick = np.linspace(0.036, 0.020, 9)
    for _ in range(5):
        at = rng.uniform(0.02, 0.98)
        foot = np.array((at, np.interp(at, x, y)))
        angle = rng.uniform(20, 160) + (180 if rng.random() < 0.35 else 0)
        tip = foot + rng.uniform(0.10, 0.16) * np.array((np.cos(np.deg2rad(angle)), -np.sin(np.deg2rad(angle))))
        shape = _feather(foot, tip, 0.06, 0.25)
        canvas.fill([shape], leaf * rng.uniform(0.92, 1.06))
        canvas.stroke([np.stack([foot, 0.2 * foot + 0.8 * tip])], 0.005, leaf * 0.8, 0.7)
    upper, lower = np.stack([x, y - thick], 1), np.stack([x, y + thick], 1)
    canvas.fill([np.concatenate([upper, lower[::-1]])], bark)
    canvas.fill([np.concatenate([np.stack([x, y + 0.2 * thick], 1), lower[::-1]])], bark * 0.86)
    canvas.stroke([upper + (0, 0.006)], 0.008, bark * 1.16, 0.8)


def _blades(canvas, rng, foot: float, count: int, height, colour: np.ndarray) -> None:
    """Grass: slender leaves that rise from below `foot` (frame units)."""
    for x in np.linspace(0, 1, count) + rng.uniform(-0.03, 0.03, count):
        lean, tall = rng.uniform(-0.06, 0.06), rng.uniform(*height)
        shape = _feather((x, foot + 0.14), (x + lean, foot - tall), 0.026, 0.05)
        canvas.fill([shape], colour * rng.uniform(0.9, 1.06))


def _meadow(canvas: _Canvas, a: _Anatomy, rng: np.random.Generator, far: np.ndarray) -> None:
    turf = far * (0.90, 0.96, 0.84)
    x = np.linspace(-0.1, 1.1, 7)
    hill = a.ground - 0.03 + rng.uniform(-0.012, 0.012, 7)
    canvas.fill([np.concatenate([_smooth(np.stack([x, hill], 1), False), [(1.1, 1.2), (-0.1, 1.2)]])],
                turf)  # fmt: skip
    _blades(canvas, rng, a.ground, 13, (0.02, 0.10), turf * 0.92)


def _meadow_front(canvas: _Canvas, a: _Anatomy, rng: np.random.Generator) -> None:
    turf = np.array(_SCENES["meadow"][2], np.float32) * (0.78, 0.84, 0.72)
    _blades(canvas, rng, a.ground + 0.05, 12, (-0.02, 0.03), turf)
    for _ in range(3):
        centre = (rng.uniform(0.03, 0.97), a.ground + rng.uniform(0.0, 0.06))
        canvas.fill([_disc(centre, 0.014)], np.array((206, 192, 204), np.float32))
        canvas.fill([_disc(centre, 0.006)], np.array((176, 158, 148), np.float32))


def _water(canvas: _Canvas, a: _Anatomy, rng: np.random.Generator, far: np.ndarray) -> None:
    shore = a.ground - rng.uniform(0.10, 0.16)
    lake = far * (0.86, 0.93, 0.98)
    canvas.fill([np.array(((-0.1, shore), (1.1, shore + 0.01), (1.1, 1.2), (-0.1, 1.2)))], lake)
    for _ in range(6):
        centre = (rng.uniform(0, 1), rng.uniform(shore + 0.02, 1))
        canvas.fill([_disc(centre, rng.uniform(0.06, 0.16), 0.07)], lake * 1.09, 0.7)
    for _, foot in a.legs:
        for radius in (0.10, 0.055):
            ring = _disc(foot + (0, 0.004), radius, 0.22)
            canvas.outline([ring], 0.008, lake * 1.2, 0.75)


def _reeds(canvas: _Canvas, a: _Anatomy, rng: np.random.Generator, far: np.ndarray) -> None:
    stem, cob, mud = far * (0.86, 0.88, 0.78), far * (0.74, 0.66, 0.62), far * (0.88, 0.87, 0.86)
    for x in np.linspace(0.03, 0.97, 9) + rng.uniform(-0.04, 0.04, 9):
        lean, top = rng.uniform(-0.05, 0.05), rng.uniform(0.03, 0.45)
        line = _smooth([(x, 1.05), (x + 0.3 * lean, 0.6), (x + lean, top)], closed=False)
        canvas.stroke([line], 0.012, stem * rng.uniform(0.93, 1.07))
        if rng.random() < 0.4:
            tip = np.array((x + lean, top))
            canvas.fill([_feather(tip + (0, 0.05), tip - (0, 0.05), 0.034, 0.8)], cob)
    x = np.linspace(-0.1, 1.1, 7)
    bank = a.ground - 0.012 + rng.uniform(-0.008, 0.008, 7)
    canvas.fill([np.concatenate([_smooth(np.stack([x, bank], 1), False), [(1.1, 1.2), (-0.1, 1.2)]])],
                mud)  # fmt: skip


_SCENERY = {"branch": _branch, "meadow": _meadow, "water": _water, "reeds": _reeds}
