import re

import numpy as np
import pytest

from s2igan.datasets.drawn.birds import COLOURS, PARTS, random_bird
from s2igan.datasets.drawn.grammar import changeable, describe, read, recolour
from s2igan.errors import InputError


@pytest.fixture(scope="module")
def written():
    rng = np.random.default_rng(0)
    birds = [random_bird(rng) for _ in range(6000)]
    return [(bird, describe(bird, rng)) for bird in birds]


def test_read_is_the_inverse_of_describe(written):
    for bird, text in written:
        for part, colour in read(text).items():
            assert bird.colour(part) == colour, text
    counts = np.array([len(read(text)) for _, text in written])
    assert counts.min() == 3 and counts.max() == 6
    assert abs(counts.mean() - 4.5) < 0.1


def test_every_part_that_is_spoken_of_is_read(written):
    words = {
        "crown": r"crown|cap|head", "back": "back|mantle", "belly": "belly|underparts|underside",
        "wing": "wing", "tail": "tail", "bill": "bill|beak",
    }  # fmt: skip
    for _, text in written:
        assert {p for p in PARTS if re.search(rf"\b({words[p]})", text)} == set(read(text)), text


def test_captions_can_be_spoken_and_mirrored(written):
    for _, text in written:
        words = text.replace(",", "").split()
        assert 6 <= len(words) <= 28
        assert re.fullmatch(r"[a-z]+(,? [a-z]+)*", text), text
        assert not {"left", "right"} & set(words)
        assert not re.search(r"\ba [aeiou]|\ban [^aeiou]", text), text


def test_captions_vary(written):
    texts = [text for _, text in written]
    assert len(set(texts)) > 0.99 * len(texts)
    assert len({" ".join(t.split()[:3]) for t in texts}) > 50
    assert np.mean([len(changeable(t)) for t in texts]) > 3


def test_recolour_changes_one_part_only(written):
    rng = np.random.default_rng(1)
    for _, text in written[:3000]:
        before = read(text)
        for part in changeable(text):
            colour = list(COLOURS)[rng.integers(len(COLOURS))]
            changed = recolour(text, part, colour)
            assert read(changed) == before | {part: colour}, (text, changed)
            assert not re.search(r"\ba [aeiou]|\ban [^aeiou]", changed), changed


@pytest.mark.parametrize(
    ("text", "colours"),
    [
        ("This bird has a red crown and a white belly.", {"crown": "red", "belly": "white"}),
        ("a small bird with a blue head, yellow breast", {"crown": "blue", "belly": "yellow"}),
        ("its back and wings are blue", {"back": "blue", "wing": "blue"}),
        ("its back and its tail are jet black", {"back": "black", "tail": "black"}),
        ("a red crown and back, and its tail is blue",
         {"crown": "red", "back": "red", "tail": "blue"}),
        ("a brown bill and wings that are green", {"bill": "brown", "wing": "green"}),
        ("golden on the top of the head, crimson on the tail feathers",
         {"crown": "yellow", "tail": "red"}),
        ("its crown is red, its back black", {"crown": "red", "back": "black"}),
        ("a blue bird with a yellow beak", {"bill": "yellow"}),
        ("a dog on a lawn", {}),
        ("", {}),
    ],
)  # fmt: skip
def test_read_understands_a_persons_sentence(text, colours):
    assert read(text) == colours


@pytest.mark.parametrize(("text", "part", "colour", "changed"), [
    ("this bird has a red crown", "crown", "blue", "this bird has a blue crown"),
    ("A red crown and a white belly", "crown", "orange", "An orange crown and a white belly"),
    ("an orange bill", "bill", "black", "a black bill"),
    ("a bright red crown", "crown", "blue", "a bright blue crown"),
    ("a bright red crown", "crown", "black", "a black crown"),
    ("its crown is jet black", "crown", "green", "its crown is green"),
    ("a short black bill", "bill", "orange", "a short orange bill"),
])  # fmt: skip
def test_recolour_says_it_as_a_person_would(text, part, colour, changed):
    assert recolour(text, part, colour) == changed


def test_a_shared_colour_word_cannot_be_changed_for_one_part():
    text = "its back and wings are blue and its tail is red"
    assert changeable(text) == ["tail"]
    with pytest.raises(InputError, match="shares.*tail"):
        recolour(text, "back", "red")


def test_recolour_refuses_what_it_cannot_do():
    with pytest.raises(InputError, match="bill"):
        recolour("this bird has a red crown", "bill", "red")
    with pytest.raises(InputError, match="purple"):
        recolour("this bird has a red crown", "crown", "purple")
    with pytest.raises(InputError, match="beard"):
        recolour("this bird has a red crown", "beard", "red")
