import os
import shutil
from collections import Counter
from pathlib import Path

import pytest
from data_sets import load
from miniatures_stamps import FOLDER, write_stamps

from s2igan.catalog import Caption, Image
from s2igan.datasets import stamps
from s2igan.errors import InputError
from s2igan.splits import Limits

UNSEEN = {"be", "ca", "ca-2", "fr-2"}  # written out anew: the constant decides what the scores mean


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stamps")
    write_stamps(folder)
    return folder


@pytest.fixture
def raw(original, tmp_path):
    """A copy to damage."""
    return Path(shutil.copytree(original, tmp_path / "raw", copy_function=os.link))


def place(raw, name, sentence, languages):
    """A further image, its text, and recordings, none of which can be read: `load` only looks where they are."""
    path = raw / FOLDER / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_name(f"{path.name}.txt").write_text(f"{sentence}\n")
    for suffix in (".png", *(f"_desc_{language}.ogg" for language in languages)):
        path.with_name(f"{path.name}{suffix}").touch()


def parts(catalog):
    return {image.key: image.split for image in catalog.images}


def sentence_of(raw, image):
    return (raw / image.path).with_suffix(".txt").read_text().split("\n")[0]


def test_an_image_and_its_captions_are_what_the_files_say(original):
    catalog = load("stamps", original, Limits())
    key, path = "animals_birds/red-1", f"{FOLDER}/animals/birds/red-1"
    image = catalog.image_of()[key]
    assert image == Image(key, f"{path}.png", "animals_birds", image.split)
    spoken = {caption.language: caption for caption in catalog.captions if caption.image == key}
    assert spoken["en"] == Caption(f"{key}/03", key, "", f"{path}_desc.ogg", "en", "en")
    assert spoken["bg"] == Caption(f"{key}/01", key, "", f"{path}_desc_bg.ogg", "bg", "bg")
    assert {caption.recording for caption in spoken.values()} <= {
        f"{path}_desc{suffix}.ogg" for suffix in ("", "_be", "_bg", "_ca", "_es", "_fr", "_ru")
    }


def test_unseen_speakers_are_heard_in_the_test_only(original):
    catalog = load("stamps", original, Limits())
    split = parts(catalog)
    heard = {part: {c.speaker for c in catalog.captions if split[c.image] == part} for part in ("train", "val", "test")}
    assert not (heard["train"] | heard["val"]) & UNSEEN
    anew = load("stamps", original, Limits(hold_out="image"))
    assert {caption.speaker for caption in anew.training_captions()} >= UNSEEN
    assert heard["train"] >= {"bg", "es", "fr", "ru"} and heard["test"] >= {"be", "ca", "bg", "es", "fr", "ru"}


def test_a_test_image_has_all_its_recordings_and_another_all_of_seen_speakers(original):
    catalog = load("stamps", original, Limits())
    count = Counter(caption.image for caption in catalog.captions)
    for image in catalog.images:
        in_series = image.key.startswith("animals_birds") and int(image.key.split("-")[1]) <= 4
        everything, unseen = (7, 3) if in_series else (6, 2)  # be, ca and, in the series, the other French voice
        assert count[image.key] == (everything if image.split == "test" else everything - unseen)


@pytest.mark.parametrize("name, language, series, speaker", [
    ("animals/birds/crow", "ca", True, "ca-2"),
    ("animals/birds/crow", "fr", True, "fr-2"),
    ("animals/birds/crow", "ru", True, "ru"),
    ("animals/birds/ostrich", "ca", False, "ca"),
    ("animals/birds/ostrich", "fr", False, "fr"),
    ("animals/birds/hen", "ca", True, "ca"),
    ("animals/birds/hen", "fr", True, "fr-2"),
    ("animals/mammals/aquatic/sea_lion", "fr", False, "fr-2"),
    ("animals/mammals/aquatic/sea_lion", "ca", False, "ca"),
])  # fmt: skip
def test_the_second_voices(name, language, series, speaker):
    languages = ("ca", "fr", "nl", "ru") if series else ("ca", "fr", "ru")
    assert stamps.Stamp(name, "", languages).speaker(language) == speaker


def test_each_class_is_divided_by_images(original):
    catalog = load("stamps", original, Limits())
    for class_name in ("animals_birds", "food_fruit", "town_houses", "vehicles"):
        found = Counter(image.split for image in catalog.images if image.class_name == class_name)
        assert found == {"train": 5, "val": 1, "test": 2}
    assert parts(catalog) != parts(load("stamps", original, Limits(seed=1)))
    assert catalog == load("stamps", original, Limits())


def test_pictures_with_one_sentence_stay_together(raw):
    for index in range(6):
        place(raw, f"town/houses/cottage{index}", f"A Cottage{index % 2}.", ("be", "es"))
    place(raw, "animals/birds/cottage", "a cottage1. ", ("be", "es"))  # in another class, too
    for seed in range(20):
        catalog = load("stamps", raw, Limits(seed=seed))
        found = {sentence_of(raw, image).strip().casefold(): set() for image in catalog.images}
        for image in catalog.images:
            found[sentence_of(raw, image).strip().casefold()].add(image.split)
        assert all(len(splits) == 1 for splits in found.values())
    assert sum("cottage" in image.key for image in catalog.images) == 7


def test_classes_are_folders_with_enough_sentences(raw):
    for index in range(8):
        place(raw, f"animals/fish/cartoon/fish{index}", f"Fish {index}.", ("es",))
        place(raw, f"animals/apes/ape{index}", f"Ape {index % 7}.", ("es",))  # seven sentences
        place(raw, f"animals/toys/bear{index}", f"Bear {index}.", ("es",))
    place(raw, "animals/mammals/rodents/mouse/cartoon/mouse", "A mouse.", ("es",))
    images = {image.key: image.class_name for image in load("stamps", raw, Limits()).images}
    assert images["animals_fish/cartoon_fish3"] == "animals_fish"
    assert images["animals/apes_ape2"] == images["animals/toys_bear5"] == "animals"
    assert images["animals/mammals_rodents_mouse_cartoon_mouse"] == "animals"
    assert len([name for name in images.values() if name == "animals"]) == 17
    assert set(images.values()) == {
        "animals", "animals_birds", "animals_fish", "food_fruit", "town_houses", "vehicles"
    }  # fmt: skip


def test_signs_small_folders_and_what_nobody_seen_names_are_left_out(raw):
    place(raw, "vehicles/tram", "A tram.", ("be", "ca"))
    place(raw, "vehicles/bus", "A bus.", ())
    place(raw, "vehicles/car", "A car.", ("be", "da"))
    keys = {image.key for image in load("stamps", raw, Limits()).images}
    assert "vehicles/car" in keys and not {"vehicles/tram", "vehicles/bus"} & keys
    assert not [key for key in keys if "filled" in key or "fire" in key or "mirror" in key or "jacket" in key]
    assert len(keys) == 33


def test_a_limit_of_captions_keeps_numbers_and_both_kinds_of_speakers(original):
    numbers = {caption.key: caption for caption in load("stamps", original, Limits()).captions}
    for most in (1, 2, 3):
        catalog = load("stamps", original, Limits(captions_per_image=most))
        assert all(numbers[caption.key] == caption for caption in catalog.captions)
        for image in catalog.images:
            heard = [caption.speaker in UNSEEN for caption in catalog.captions if caption.image == image.key]
            assert len(heard) == most
            assert sum(heard) == ((most + 1) // 2 if image.split == "test" else 0)
    few = load("stamps", original, Limits(captions_per_image=2))
    languages = {caption.language for caption in few.captions}
    assert languages >= {"be", "bg", "ca", "es", "fr", "ru"}  # not the first two of each
    assert load("stamps", original, Limits(captions_per_image=9)) == load("stamps", original, Limits())


def test_one_kind_of_speakers_fills_up_for_the_other(raw):
    for index in range(20):
        place(raw, f"sports/ball{index}", f"Ball {index}.", ("be", "bg", "es", "ru"))
        place(raw, f"sports/bat{index}", f"Bat {index}.", ("be", "ca", "fr", "nl"))  # only Dutch is seen
    catalog = load("stamps", raw, Limits(captions_per_image=4))
    count = Counter(caption.image for caption in catalog.captions)
    tested = [image.key for image in catalog.images if image.split == "test" and image.class_name == "sports"]
    assert len(tested) == 8 and {count[key] for key in tested} == {4}


def test_what_is_missing_is_told_with_the_mend(tmp_path, raw):
    with pytest.raises(InputError, match="usr/share/tuxpaint/stamps: missing; run `s2igan fetch stamps`"):
        load("stamps", tmp_path, Limits())
    for name in ("animals", "food", "town", "vehicles"):
        for path in (raw / FOLDER / name).rglob("*.ogg"):
            path.unlink()
    with pytest.raises(InputError, match="no folder with 8 images and their recordings; run `s2igan fetch stamps`"):
        load("stamps", raw, Limits())
