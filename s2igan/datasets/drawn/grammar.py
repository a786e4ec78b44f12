"""Captions of drawn birds in the manner of CUB's, and the way back from a caption to its colours.

`describe` writes, `read` understands (what `describe` writes exactly, a person's own sentence as well as
it can), `recolour` changes one part's colour and nothing else.
"""

import re
from typing import NamedTuple

import numpy as np

from s2igan.datasets.drawn.birds import COLOURS, PARTS, Bird
from s2igan.errors import InputError

MAX_WORDS = 28

# What describe calls each part: (noun, plural). Half of the time the first is taken, else any.
_NOUNS = {
    "crown": (("crown", False), ("cap", False), ("top of the head", False)),
    "back": (("back", False), ("mantle", False)),
    "belly": (("belly", False), ("underparts", True), ("underside", False)),
    "wing": (("wings", True), ("wing feathers", True)),
    "tail": (("tail", False), ("tail feathers", True)),
    "bill": (("bill", False), ("beak", False)),
}
# What read understands beyond that.
_ALSO_PART = {
    "head": "crown", "forehead": "crown", "crest": "crown", "wing": "wing", "breast": "belly",
    "chest": "belly", "stomach": "belly", "tummy": "belly", "abdomen": "belly",
    "bellies": "belly", "crowns": "crown", "backs": "back", "tails": "tail", "bills": "bill",
    "beaks": "bill",
}  # fmt: skip
# Modifiers that leave the colour what it is, and other names of the colour.
_MODIFIERS = {
    "red": ("bright", "vivid", "deep"),
    "orange": ("bright", "vivid"),
    "yellow": ("bright", "vivid"),
    "green": ("bright", "vivid", "deep"),
    "blue": ("bright", "vivid", "deep"),
    "brown": ("dark", "rich"),
    "black": ("deep", "glossy"),
    "white": ("bright", "clean"),
}
_SYNONYMS = {
    "red": ("crimson", "scarlet"),
    "orange": ("flame orange",),
    "yellow": ("golden", "lemon yellow"),
    "green": ("emerald", "leaf green"),
    "blue": ("cobalt", "royal blue"),
    "brown": ("chestnut", "earthy brown"),
    "black": ("jet black", "coal black"),
    "white": ("snowy white", "snow white"),
}
_ALSO_COLOUR = {"gold": "yellow", "ebony": "black", "ruby": "red"}

_PART_OF = {noun: part for part, nouns in _NOUNS.items() for noun, _ in nouns} | _ALSO_PART
_COLOUR_OF = {name: name for name in COLOURS} | _ALSO_COLOUR
_COLOUR_OF |= {word: name for name, words in _SYNONYMS.items() for word in words}
_MODIFIER_WORDS = {w for words in _MODIFIERS.values() for w in words} | {"light", "pale", "very"}
_DESCRIPTIVE = {"short", "long", "small", "large", "big", "little", "tiny", "pointed", "sharp"}
_PHRASES = sorted([*_PART_OF, *_COLOUR_OF], key=len, reverse=True)  # the longest name wins
_TOKEN = re.compile(r"\b(?:" + "|".join(_PHRASES) + r")\b|[a-z']+|[^\sa-z']", re.IGNORECASE)


# ---------------------------------------------------------------- writing


def describe(bird: Bird, rng: np.random.Generator) -> str:
    """One spoken-style sentence that names 3 to 6 of the bird's parts (4.5 in the mean) truly.

    6 to 28 words, lower case, no digits, commas the only punctuation; left and right are never
    mentioned, so a mirrored image still fits. A pure function of the bird and the generator's state.
    """
    count = int(rng.choice((3, 4, 5, 6), p=(0.2, 0.3, 0.3, 0.2)))
    parts = [PARTS[i] for i in rng.permutation(len(PARTS))[:count]]
    while True:
        text = _sentence(bird, parts, rng)
        if 6 <= len(text.replace(",", "").split()) <= MAX_WORDS:
            return text


def _sentence(bird: Bird, parts: list[str], rng: np.random.Generator) -> str:
    units = _units(bird, parts, rng)
    cut = int(rng.integers(1, len(units))) if len(units) > 1 else 1
    first, rest = units[:cut], units[cut:]
    subject = _choose(rng, "this bird", "the bird", "this {} bird", "it")
    subject = subject.format(bird.size) if rng.random() < 0.6 else subject.replace("{} ", "")
    kind = _choose(rng, "a bird", "this is a bird", "a {} bird", "this is a {} bird")
    kind = kind.format(bird.size) if rng.random() < 0.6 else kind.replace("{} ", "")
    has = _choose(rng, "has", "has", "shows") if subject != "it" else "has"
    form = int(rng.choice(8, p=(0.24, 0.22, 0.10, 0.14, 0.08, 0.08, 0.08, 0.06)))
    if form == 1:
        return f"{kind} with {_owned(bird, units, rng)}"
    if form == 2:
        return _stated(bird, units, "its", rng)
    if form == 3 and rest:
        link = _choose(rng, " and", ", and", ", while")
        return f"{subject} {has} {_owned(bird, first, rng)}{link} {_stated(bird, rest, 'its', rng)}"
    if form == 4 and rest:
        return f"with {_owned(bird, first, rng)}, {subject} also has {_owned(bird, rest, rng)}"
    if form == 5:
        return f"{kind} whose {_stated(bird, units, '', rng)}"
    if form == 6:
        named = [f"{_colour(c, rng)} on the {_nouns(p, rng)[0]}" for p, c in units]
        return f"{subject} is {_join(named)}"
    if form == 7 and rest:
        return f"{_stated(bird, first, 'the', rng)}, and the bird has {_owned(bird, rest, rng)}"
    return f"{subject} {has} {_owned(bird, units, rng)}"


def _units(bird: Bird, parts: list[str], rng) -> list[tuple[list[str], str]]:
    """What is said in one breath: parts that agree in colour are often named together."""
    units: list[tuple[list[str], str]] = []
    for part in parts:
        colour = bird.colour(part)
        partner = next((u for u in units if u[1] == colour and len(u[0]) < 3), None)
        if partner and rng.random() < 0.6:
            partner[0].append(part)
        else:
            units.append(([part], colour))
    return units


def _owned(bird: Bird, units, rng) -> str:
    """ "a red crown, blue wings and a short black bill" """
    phrases = []
    for parts, colour in units:
        if len(parts) == 1 and rng.random() < 0.12:
            nouns, plural = _nouns(parts, rng)
            article = "" if _first_is_plural(nouns) else f"{_article(nouns)} "
            verb = "are" if plural else "is"
            phrases.append(f"{article}{nouns} that {verb} {_colour(colour, rng)}")
            continue
        adjective = _length(bird, parts, rng)
        nouns, _ = _nouns(parts, rng, attributive=True)
        words = f"{adjective}{_colour(colour, rng)} {nouns}"
        phrases.append(words if _first_is_plural(nouns) else f"{_article(words)} {words}")
    return _join(phrases)


def _stated(bird: Bird, units, owner: str, rng) -> str:
    """ "its crown is red, its back and wings are blue" """
    clauses = []
    for k, (parts, colour) in enumerate(units):
        nouns, plural = _nouns(parts, rng, attributive=not owner)
        of = (owner or ("whose" if k else "")) + " "
        said = f"{of}{_length(bird, parts, rng)}{nouns}".strip()
        # "its crown is red, its back black": the verb may be left out once it has been heard
        verb = " are" if plural else " is"
        if clauses and owner and len(parts) == 1 and rng.random() < 0.12:
            verb = ""
        clauses.append(f"{said}{verb} {_colour(colour, rng)}")
    return _join(clauses)


def _nouns(parts: list[str], rng, attributive: bool = False) -> tuple[str, bool]:
    """The parts' names joined, and whether the verb is plural."""
    names = []
    for part in parts:
        options = _NOUNS[part]
        if attributive:  # not "a red top of the head"
            options = tuple(o for o in options if " of " not in o[0])
        names.append(options[0] if rng.random() < 0.5 else options[rng.integers(len(options))])
    return _join([noun for noun, _ in names]), len(names) > 1 or names[0][1]


def _length(bird: Bird, parts: list[str], rng) -> str:
    if parts == ["bill"] and rng.random() < 0.4:
        return bird.bill_length + " "
    if parts == ["tail"] and rng.random() < 0.3:
        return bird.tail_length + " "
    return ""


def _colour(name: str, rng) -> str:
    draw = rng.random()
    if draw < 0.07:
        return _choose(rng, *_SYNONYMS[name])
    if draw < 0.17:
        return f"{_choose(rng, *_MODIFIERS[name])} {name}"
    return name


def _first_is_plural(nouns: str) -> bool:
    return nouns.startswith(("wings", "wing feathers", "tail feathers", "underparts"))


def _article(words: str) -> str:
    return "an" if words[0] in "aeiou" else "a"


def _join(phrases: list[str]) -> str:
    if len(phrases) < 2:
        return phrases[0]
    return f"{', '.join(phrases[:-1])} and {phrases[-1]}"


def _choose(rng, *options: str) -> str:
    return options[rng.integers(len(options))]


# ---------------------------------------------------------------- reading


class _Token(NamedTuple):
    kind: str  # part, colour, and, determiner, verb, link, filler or end
    value: str
    start: int
    stop: int


def _tokens(text: str) -> list[_Token]:
    tokens = []
    for match in _TOKEN.finditer(text):
        word = match.group().lower()
        kind, value = "end", word
        if word in _PART_OF:
            kind, value = "part", _PART_OF[word]
        elif word in _COLOUR_OF:
            kind, value = "colour", _COLOUR_OF[word]
        elif word in ("and", ",", "&"):
            kind = "and"
        elif word in ("a", "an", "the", "its", "it's", "his", "her", "whose"):
            kind = "determiner"
        elif word in ("is", "are", "was", "were"):
            kind = "verb"
        elif word in _MODIFIER_WORDS or word in _DESCRIPTIVE:
            kind = "filler"
        elif word in ("on", "of", "that", "which", "coloured", "colored", "feathers", "in"):
            kind = "link"
        tokens.append(_Token(kind, value, *match.span()))
    return tokens


def _resolve(text: str) -> tuple[list[_Token], dict[str, int]]:
    """The tokens, and for every part whose colour is named the index of the colour's token.

    A colour goes to the parts that follow it ("a blue back and wings", "red on the crown") or, where
    none follows at once, to those that wait before it ("its back and wings are blue").
    """
    tokens = _tokens(text)
    where: dict[str, int] = {}
    colour = shared = None  # index of a colour that awaits its part; of one that parts may share
    waiting: list[str] = []  # parts that await their colour
    last_shared = None  # the part that took a shared colour last: a verb after it takes that back
    for i, (kind, value, _, _) in enumerate(tokens):
        if kind == "colour":
            after = i + 1
            while after < len(tokens) and tokens[after].kind == "filler":
                after += 1
            leads = after < len(tokens) and tokens[after].kind in ("part", "link")
            if waiting and not leads:
                for part in waiting:
                    where.setdefault(part, i)
                waiting, colour = [], None
            else:
                waiting, colour = [], i
            shared = last_shared = None
        elif kind == "part":
            if colour is not None:
                where.setdefault(value, colour)
                shared, colour, last_shared = colour, None, None
            elif shared is not None and value not in where:
                where[value] = shared
                last_shared = value
            else:
                waiting.append(value)
        elif kind == "verb":
            if last_shared is not None:
                del where[last_shared]
                waiting.append(last_shared)
            shared = last_shared = colour = None
        elif kind == "determiner":
            shared = last_shared = None
            if i and tokens[i - 1].kind == "and":  # "red, and its wings": that red was no part's
                colour = None
        elif kind == "end":
            colour = shared = last_shared = None
            waiting = []
    return tokens, where


def read(text: str) -> dict[str, str]:
    """The colours that a caption names: part -> colour, in the order of PARTS.

    Exact for whatever `describe` writes. Parts or colours that it does not know are passed over.
    """
    tokens, where = _resolve(text)
    return {part: tokens[where[part]].value for part in PARTS if part in where}


def named_at(text: str) -> dict[str, list[tuple[int, int]]]:
    """Where a caption names a part's colour and the part: part -> both words' beginnings and ends in the text."""
    tokens, where = _resolve(text)
    nouns = {token.value: token for token in reversed(tokens) if token.kind == "part"}  # of each part the first
    return {part: [(t.start, t.stop) for t in (tokens[where[part]], nouns[part])] for part in where}


def changeable(text: str) -> list[str]:
    """The parts whose colour stands in a word of their own, so that one word changes only them."""
    _, where = _resolve(text)
    uses = list(where.values())
    return [part for part in PARTS if part in where and uses.count(where[part]) == 1]


def recolour(text: str, part: str, colour: str) -> str:
    """The same caption with only this part's colour changed: read() differs in that part alone.

    A modifier stays if it suits the new colour (no "bright black"), and "a" becomes "an" as needed.
    Raises InputError for an unknown part or colour, a part that the caption does not name, and a part
    that shares its colour word with another (see `changeable`).
    """
    if part not in PARTS:
        raise InputError(f"part {part!r}: no such part; choose from {', '.join(PARTS)}")
    if colour not in COLOURS:
        raise InputError(f"colour {colour!r}: no such colour; choose from {', '.join(COLOURS)}")
    tokens, where = _resolve(text)
    if part not in where:
        named = ", ".join(read(text)) or "no part"
        raise InputError(f"caption {text!r}: names no colour of the {part}; it names {named}")
    if part not in (free := changeable(text)):
        raise InputError(
            f"caption {text!r}: the {part} shares its colour word with another part; "
            f"parts that can be changed alone: {', '.join(free) or 'none'}"
        )
    first = last = where[part]
    kept: list[str] = []
    while first and tokens[first - 1].value in _MODIFIER_WORDS:
        first -= 1
        if tokens[first].value in _MODIFIERS[colour]:
            kept.insert(0, tokens[first].value)
    words = " ".join([*kept, colour])
    start, stop = tokens[first].start, tokens[last].stop
    if first and tokens[first - 1].value in ("a", "an"):
        article = tokens[first - 1]
        fitting = _article(words)
        if text[article.start].isupper():
            fitting = fitting.capitalize()
        return text[: article.start] + fitting + text[article.stop : start] + words + text[stop:]
    return text[:start] + words + text[stop:]
