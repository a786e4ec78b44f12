import hashlib
import json
import shutil

import pytest
from data_sets import load
from miniatures_speech import copy, write_places

from s2igan.catalog import Caption, Image
from s2igan.errors import InputError
from s2igan.splits import Limits

NEW, OLD = "placesaudio_2020_splits", "PlacesAudio_400k_distro/metadata"


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    folders = {newer: tmp_path_factory.mktemp("places") for newer in (True, False)}
    return {newer: (folder, write_places(folder, newer=newer)) for newer, folder in folders.items()}


@pytest.fixture
def raw(originals, tmp_path):
    return copy(originals[True][0], tmp_path / "new")


@pytest.fixture
def old(originals, tmp_path):
    return copy(originals[False][0], tmp_path / "old")


def edit(path, change):
    content = json.loads(path.read_text())
    path.write_text(json.dumps(change(content) or content))


def split_by_path(folder, **limits):
    return {
        image.path.removeprefix("images/"): image.split for image in load("places", folder, Limits(**limits)).images
    }


def test_an_image_and_its_captions_are_what_the_lists_say(originals):
    folder, paths = originals[True]
    catalog = load("places", folder, Limits())
    assert (len(catalog.images), len(catalog.captions)) == (9, 18)
    assert paths[1].startswith("a/apartment_building/outdoor/gsun_")
    key = "-/a_apartment_building_outdoor_" + paths[1].split("/")[-1].removesuffix(".jpg")
    image = next(image for image in catalog.images if image.key == key)
    assert image == Image(key, f"images/{paths[1]}", "", "train")
    speaker = "A" + hashlib.sha256(b"102").hexdigest()[:13].upper()
    assert [caption for caption in catalog.captions if caption.image == key][1] == Caption(
        f"{key}/01", key, "", "PlacesAudio_400k_distro/wavs/1/utterance_3.wav", "en", speaker
    )
    assert [image.key for image in catalog.images] == sorted(image.key for image in catalog.images)
    assert [c.key for c in catalog.captions] == [f"{i.key}/{n:02d}" for i in catalog.images for n in range(2)]


def test_the_newer_lists_say_the_split_and_unseen_speakers_are_not_used(originals, raw):
    folder, paths = originals[True]
    expected = dict(zip(paths, ["train"] * 5 + ["val"] * 2 + ["test"] * 2, strict=True))
    assert split_by_path(folder) == expected
    edit(raw / NEW / "test_unseen_2020.json", lambda content: content["data"][0].update(image="k/kitchen/none.jpg"))
    assert split_by_path(raw) == expected


def test_without_a_test_list_half_of_val_is_the_test(originals):
    folder, paths = originals[False]
    held_out = sorted(paths[5:], key=lambda path: hashlib.sha256(f"3/test/{path}".encode()).digest())
    assert split_by_path(folder, seed=3) == (
        dict.fromkeys(paths[:5], "train") | dict.fromkeys(held_out[:2], "test") | dict.fromkeys(held_out[2:], "val")
    )
    assert len(load("places", folder, Limits()).captions) == 18


@pytest.mark.parametrize("val", ["val", "val_seen"])
def test_older_sets_with_a_test_list_are_taken_as_they_are(old, originals, val):
    _, paths = originals[False]
    lists = old / OLD
    (lists / "val.json").rename(lists / f"{val}.json")
    shutil.copy(lists / f"{val}.json", lists / f"{val.replace('val', 'test')}.json")
    edit(lists / f"{val}.json", lambda content: content.update(data=content["data"][:4]))
    edit(lists / f"{val.replace('val', 'test')}.json", lambda content: content.update(data=content["data"][4:]))
    assert split_by_path(old) == dict(zip(paths, ["train"] * 5 + ["val"] * 2 + ["test"] * 2, strict=True))


def test_newer_lists_win_wherever_they_lie(old, originals):
    _, paths = originals[True]
    for file in (originals[True][0] / NEW).iterdir():
        shutil.copy(file, old / OLD)
    assert list(split_by_path(old).values()).count("test") == 2
    assert load("places", old, Limits()) == load("places", originals[True][0], Limits())


def test_places205_may_lie_as_its_archive_unpacks(raw, originals):
    (raw / "data/vision/torralba/deeplearning").mkdir(parents=True)
    (raw / "images").rename(raw / "data/vision/torralba/deeplearning/images256")
    catalog = load("places", raw, Limits())
    assert catalog.images[0].path.startswith("data/vision/torralba/deeplearning/images256/a/abbey/gsun_")
    assert catalog.captions == load("places", originals[True][0], Limits()).captions


def test_an_image_of_two_lists_is_not_trained_on(raw, originals):
    _, paths = originals[True]
    edit(raw / NEW / "train_2020.json", lambda content: content["data"][0].update(image=paths[8]))
    edit(raw / NEW / "dev_seen_2020.json", lambda content: content["data"][0].update(image=paths[4]))
    split = split_by_path(raw)
    assert split == dict(zip(paths, ["train"] * 4 + ["val"] * 3 + ["test"] * 2, strict=True))
    captions = load("places", raw, Limits()).captions
    recordings = [caption.recording.split("/")[-1] for caption in captions]
    assert len(captions) == 15  # without one of paths[8] and two of paths[4]
    assert not {"utterance_0.wav", "utterance_8.wav", "utterance_9.wav"} & set(recordings)


def entry(**values):
    def damage(raw):
        edit(raw / NEW / "train_2020.json", lambda content: content["data"][3].update(values))

    return damage


def content(value):
    return lambda raw: (raw / NEW / "train_2020.json").write_bytes(value)


TRAIN = r"train_2020\.json"


@pytest.mark.parametrize(("damage", "message"), [
    (lambda raw: (raw / NEW / "dev_seen_2020.json").unlink(), r"dev_seen_2020\.json: missing, though train_2020"),
    (lambda raw: (raw / NEW / "test_seen_2020.json").unlink(), r"test_seen_2020\.json: missing, though train_2020"),
    (lambda raw: shutil.rmtree(raw / NEW), "no lists, looked for train_2020.json, or train.json with val.json"),
    (lambda raw: shutil.rmtree(raw / "images"), "no images, looked for images, data/vision"),
    (content(b'{"data": ['), f"{TRAIN}: not JSON .*; unpack"),
    (content(b"[]"), f"{TRAIN}: no entries under data"),
    (content(b'{"data": []}'), f"{TRAIN}: no entries under data"),
    (content(b'{"data": [7]}'), f"{TRAIN}: entry 0 is 7; expected image, wav and speaker"),
    (entry(image=None), f"{TRAIN}: entry 3: image is None; expected a text"),
    (entry(wav=" "), f"{TRAIN}: entry 3: wav is ' '; expected a text"),
    (entry(speaker=5), f"{TRAIN}: entry 3: speaker is 5; expected a text"),
    (entry(image="../a.jpg"), rf"{TRAIN}: entry 3: image \.\./a\.jpg: leaves its folder"),
    (entry(wav="/etc/passwd"), f"{TRAIN}: entry 3: wav /etc/passwd: an absolute path"),
    (entry(wav="wavs/0/utterance_0.wav"), f"{TRAIN}: entry 3: wav wavs/0/utterance_0.wav a second time"),
])  # fmt: skip
def test_what_is_wrong_is_told_in_one_line_with_file_entry_and_mend(raw, damage, message):
    damage(raw)
    with pytest.raises(InputError, match=message) as error:
        load("places", raw, Limits())
    assert "\n" not in str(error.value)


def test_one_image_cannot_be_divided_into_val_and_test(old):
    edit(old / OLD / "val.json", lambda content: content.update(data=content["data"][:2]))
    with pytest.raises(InputError, match=r"val\.json: one image, to be divided into val and test"):
        load("places", old, Limits())


def test_nothing_is_taken_from_the_base_paths_of_the_lists(raw, originals):
    for file in (raw / NEW).iterdir():
        edit(file, lambda content: content.update(image_base_path="../..", audio_base_path=None))
    assert load("places", raw, Limits()) == load("places", originals[True][0], Limits())
