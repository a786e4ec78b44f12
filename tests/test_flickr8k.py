import shutil

import pytest
from data_sets import load
from miniatures_speech import copy, write_flickr8k

from s2igan.catalog import Caption, Image
from s2igan.errors import InputError
from s2igan.splits import Limits


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flickr8k")
    return folder, write_flickr8k(folder)


@pytest.fixture
def raw(original, tmp_path):
    """A copy to damage."""
    return copy(original[0], tmp_path / "raw"), original[1]


def test_an_image_and_its_captions_are_what_the_files_say(original):
    folder, names = original
    catalog = load("flickr8k", folder, Limits())
    stem = names[0].removesuffix(".jpg")
    assert catalog.images[0] == Image(f"-/{stem}", f"Flicker8k_Dataset/{names[0]}", "", "train")
    assert catalog.captions[2] == Caption(f"-/{stem}/02", f"-/{stem}", "", f"flickr_audio/wavs/{stem}_2.wav", "en", "3")
    assert (len(catalog.images), len(catalog.captions)) == (9, 45)
    assert [image.key for image in catalog.images] == sorted(f"-/{name[:-4]}" for name in names)
    assert [c.key for c in catalog.captions] == [f"{i.key}/{n:02d}" for i in catalog.images for n in range(5)]


def test_the_split_is_the_published_one(original):
    folder, names = original
    found = {image.path.split("/")[1]: image.split for image in load("flickr8k", folder, Limits()).images}
    assert found == dict(zip(names, ["train"] * 5 + ["val"] * 2 + ["test"] * 2, strict=True))


@pytest.mark.parametrize("folder", ["Flickr8k_Dataset", "Images", "Flickr8k_Dataset/Flicker8k_Dataset"])
def test_other_layouts_give_the_same_catalog(original, raw, folder):
    raw, _ = raw
    (raw / folder).parent.mkdir(exist_ok=True)
    (raw / "Flicker8k_Dataset").rename(raw / folder)
    for file in (raw / "Flickr8k_text").iterdir():
        file.rename(raw / file.name)
    catalog, expected = load("flickr8k", raw, Limits()), load("flickr8k", original[0], Limits())
    assert catalog.captions == expected.captions
    assert [i.path for i in catalog.images] == [i.path.replace("Flicker8k_Dataset", folder, 1) for i in expected.images]


def test_what_is_in_no_split_is_left_out_with_the_picture_that_was_never_published(original, raw):
    raw, names = raw
    table = raw / "flickr_audio" / "wav2capt.txt"
    odd = "2258277193_586949ec62"
    more = [f"{odd}_{n}.wav {odd}.jpg{'.1' * n} #0\n" for n in range(2)] + ["1_0.wav not_in_a_split.jpg #0\n"]
    table.write_text("".join(more) + table.read_text())
    expected = load("flickr8k", original[0], Limits())
    assert load("flickr8k", raw, Limits()) == expected
    with open(raw / "Flickr8k_text" / "Flickr_8k.trainImages.txt", "a") as file:
        file.write(f"{odd}.jpg\n")
    assert load("flickr8k", raw, Limits()) == expected


def line(name, number, text):
    """Replaces a line of a file."""

    def damage(raw, names):
        lines = (raw / name).read_text().splitlines()
        lines[number - 1] = text.format(*names)
        (raw / name).write_text("\n".join(lines) + "\n")

    return damage


def gone(name):
    return lambda raw, names: (raw / name).unlink()


CAPTIONS, SPEAKERS = "flickr_audio/wav2capt.txt", "flickr_audio/wav2spk.txt"
DEV = "Flickr8k_text/Flickr_8k.devImages.txt"


@pytest.mark.parametrize(("damage", "message"), [
    (gone(CAPTIONS), r"wav2capt\.txt: missing; unpack flickr_audio\.tar\.gz again"),
    (gone(SPEAKERS), r"wav2spk\.txt: missing; unpack flickr_audio"),
    (gone(DEV), r"Flickr_8k\.devImages\.txt: missing; unpack Flickr8k_text\.zip"),
    (lambda raw, names: (raw / DEV).write_text("\n"), r"devImages\.txt: lists no image; unpack"),
    (line(DEV, 2, "{0}"), r"devImages\.txt: line 2: 10.*\.jpg is in split train already"),
    (line(DEV, 1, "../secret.jpg"), r"devImages\.txt: line 1 is '\.\./secret\.jpg'; expected 'one file name'"),
    (line(CAPTIONS, 4, "a.wav {0}"), r"wav2capt\.txt: line 4 is 'a\.wav .*'; expected 'recording image #n'"),
    (line(CAPTIONS, 4, "/a.wav {0} #3"), r"wav2capt\.txt: line 4 is '/a\.wav .*'; expected 'recording image #n'"),
    (line(CAPTIONS, 6, "a.wav {0} #7"), r"wav2spk\.txt: no speaker of a\.wav"),
    (line(SPEAKERS, 1, "alone.wav"), r"wav2spk\.txt: line 1 is 'alone\.wav'; expected 'recording speaker'"),
    (line(DEV, 1, "9.jpg"), r"wav2capt\.txt: no recording of 9\.jpg \(1 such images\); unpack"),
    (lambda raw, names: shutil.rmtree(raw / "Flicker8k_Dataset"), r"no images, looked for Flicker8k_Dataset,"),
])  # fmt: skip
def test_what_is_wrong_is_told_in_one_line_with_file_and_mend(raw, damage, message):
    raw, names = raw
    damage(raw, names)
    with pytest.raises(InputError, match=message) as error:
        load("flickr8k", raw, Limits())
    assert "\n" not in str(error.value)


def test_the_same_recording_on_two_lines_is_refused(raw):
    raw, names = raw
    first = (raw / CAPTIONS).read_text().split()[0]
    line(CAPTIONS, 7, f"{first} {{1}} #9")(raw, names)
    with pytest.raises(InputError, match=f"line 7: {first} a second time; unpack"):
        load("flickr8k", raw, Limits())
