from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from tiny_speech import write_flite

from s2igan.catalog import Caption, Catalog, Image
from s2igan.errors import InputError
from s2igan.metrics.retrieval import chance_average_precision, speaker_control
from s2igan.metrics.robustness import (
    Gallery,
    by_voice,
    conditions,
    embed_by_condition,
    robustness_scores,
    to_say_again,
)
from stages.robustness import said_by_another_engine, said_in_seen_voices

# Four images of two classes, each a direction of its own.
IMAGES = [Image(f"{c}/{i}", "", c, "test") for c in "ab" for i in range(2)]
GALLERY = Gallery([image.key for image in IMAGES], ["a", "a", "b", "b"], np.eye(4))
CAPTIONS = [Caption(f"{image.key}/00", image.key, "", f"{i}.wav") for i, image in enumerate(IMAGES)]
# Nearest its own image, then the other of the class.
RIGHT = np.eye(4) + 0.5 * np.eye(4)[[1, 0, 3, 2]]
# Nearest the two of the other class, its own last.
WRONG = np.eye(4)[[2, 3, 0, 1]] + 0.8 * np.eye(4)[[3, 2, 1, 0]] + 0.5 * np.eye(4)[[1, 0, 3, 2]]
# Relevant at places 3 and 4.
WRONG_MAP = (1 / 3 + 2 / 4) / 2


NOBODY = [""] * 4


def keyed(captions, **embeddings):
    """Embeddings by condition and caption."""
    return {name: {c.key: row for c, row in zip(captions, rows, strict=True)} for name, rows in embeddings.items()}


def scored(captions, speech, voices=NOBODY, trained=(), gallery=GALLERY, **again):
    """Scores and table without noise or other rates; `again` are embeddings of the same captions, said again."""
    embeddings = keyed(captions, clean=speech, **again)
    return robustness_scores(gallery, captions, conditions([], [], "white"), embeddings, voices, set(trained))


def test_conditions_have_the_names_of_the_scores():
    wanted = conditions([20.0, 2.5, 0.0], [0.8, 1.25], "speech")
    assert [c.name for c in wanted] == ["clean", "snr20", "snr2.5", "snr0", "rate0.8", "rate1.25"]
    assert [(c.snr_db, c.rate) for c in wanted[1:5]] == [(20.0, 1.0), (2.5, 1.0), (0.0, 1.0), (None, 0.8)]
    assert {c.noise for c in wanted[1:4]} == {"speech"}
    assert [c.name for c in conditions([], [], "white")] == ["clean"]
    with pytest.raises(InputError, match="snr20 is asked for twice"):
        conditions([20, 20.0], [], "white")


def test_every_condition_is_scored_by_itself():
    wanted = conditions([0.0], [1.25], "white")
    embeddings = keyed(CAPTIONS, clean=RIGHT, snr0=WRONG, **{"rate1.25": RIGHT})
    scores, table = robustness_scores(GALLERY, CAPTIONS, wanted, embeddings, NOBODY, set())
    assert scores["clean_map"] == scores["clean_r1"] == scores["rate1.25_map"] == 1
    assert scores["snr0_map"] == pytest.approx(WRONG_MAP)
    assert (scores["snr0_r1"], scores["snr0_r5"], scores["snr0_median_rank"]) == (0, 1, 4)
    assert scores["clean_map_chance"] == pytest.approx(float(chance_average_precision(2, 4)))
    assert [scores[f"r{k}_chance"] for k in (1, 5, 10)] == [0.25, 1, 1]
    assert (scores["captions"], scores["images"]) == (4, 4)
    assert [(row["condition"], row["snr_db"], row["rate"]) for row in table] == [
        ("clean", None, 1.0), ("snr0", 0.0, 1.0), ("rate1.25", None, 1.25)
    ]  # fmt: skip
    assert [row["map"] for row in table] == pytest.approx([1, WRONG_MAP, 1])
    assert "languages" not in scores  # there is one


def test_without_classes_a_captions_own_picture_is_relevant():
    images = [Image(f"-/{i}", "", "", "test") for i in range(4)]
    captions = [Caption(f"{image.key}/00", image.key, "", "a.wav") for image in images]
    keys = [image.key for image in images]
    gallery = Gallery(keys, list(Catalog(images, captions).group_of().values()), np.eye(4))
    scores, _ = scored(captions, WRONG, gallery=gallery)
    assert scores["clean_map"] == pytest.approx(1 / 4)  # one relevant, in the last place
    assert scores["clean_map_chance"] == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)


def test_captions_of_one_picture_and_pictures_without_caption():
    captions = [Caption(f"b/1/{n:02d}", "b/1", "", "a.wav") for n in range(3)]
    speech = np.array([[0, 0, 0, 1], [0, 0, 0.2, 0.9], [0.9, 0.1, 0, 0.5]])
    scores, _ = scored(captions, speech, [""] * 3)
    assert scores["clean_r1"] == pytest.approx(2 / 3) and scores["captions"] == 3 and scores["images"] == 4


def test_captions_that_cannot_take_a_condition_are_counted_and_left_out_of_all():
    wanted = conditions([], [1.25], "white")
    embeddings = keyed(CAPTIONS[1:], clean=RIGHT[1:], **{"rate1.25": WRONG[1:]})
    scores, table = robustness_scores(GALLERY, CAPTIONS, wanted, embeddings, ["z", "x", "y", "y"], {"x"})
    assert (scores["captions"], scores["captions_left_out"], scores["images"], scores["voices"]) == (3, 1, 4, 2)
    assert scores["clean_r1"] == 1 and scores["rate1.25_map"] == pytest.approx(WRONG_MAP)
    assert [row["captions"] for row in table] == [3, 3, 2, 1]  # clean, faster, unseen and seen voices
    nothing, table = robustness_scores(GALLERY, CAPTIONS, wanted, {"clean": {}}, NOBODY, set())
    assert (nothing["captions"], nothing["captions_left_out"], table) == (0, 4, [])


def said(*texts: str) -> list[Caption]:
    """Captions of the four images: said by an engine where there is a text, else recorded."""
    return [replace(c, text=t, recording="" if t else c.recording) for c, t in zip(CAPTIONS, texts, strict=True)]


def test_the_same_captions_said_again_are_compared_with_the_clean_ones():
    captions = said(*["a bird"] * 4)
    assert to_say_again(captions, ["x", "y", "x", "y"], {"z"}) == captions
    scores, table = scored(captions, WRONG, ["x", "y", "x", "y"], {"z"}, seen_voices=RIGHT)
    assert scores["unseen_voices_map"] == scores["clean_map"] == pytest.approx(WRONG_MAP)
    assert scores["seen_voices_map"] == 1
    assert scores["seen_voices_captions"] == scores["unseen_voices_captions"] == 4 and scores["voices"] == 2
    assert [row["condition"] for row in table] == ["clean", "unseen_voices", "seen_voices"]


def test_captions_are_said_again_in_their_language_by_a_voice_that_training_heard():
    captions = [
        replace(c, recording="", text="red", language=code)
        for c, code in zip(CAPTIONS, ("en", "es", "ru", ""), strict=True)
    ]
    heard = {"engine": "espeak", "options": {"rate": 200}, "train_voices": ["es+f3", "en-us"]}
    ((condition, engine, options, again),) = said_in_seen_voices(captions, SimpleNamespace(attributes=heard))
    assert (condition, engine, options) == ("seen_voices", "espeak", {"rate": 200})
    assert again[:2] == [("a/0/00", "red", "en-us"), ("a/1/00", "red", "es+f3")]
    assert [key for key, _, _ in again[2:]] == ["b/1/00"]  # nobody of training speaks Russian
    assert said_in_seen_voices(captions, SimpleNamespace(attributes=heard | {"train_voices": []})) == []


def test_another_engine_says_what_it_can(tmp_path):
    codes = [("en", "red"), ("eu", "gorria"), ("", "rot"), ("en", "красный")]
    captions = [
        replace(c, recording="", text=text, language=code) for c, (code, text) in zip(CAPTIONS, codes, strict=True)
    ]
    said = said_by_another_engine(captions, "flite", {"model": write_flite(tmp_path)}, ["slt"])
    assert said[0] == "other_engine" and said.captions == [("a/0/00", "red", "slt"), ("b/0/00", "rot", "slt")]
    with pytest.raises(InputError, match="voice 'awb': flite has no such voice"):
        said_by_another_engine(captions, "flite", {"model": write_flite(tmp_path)}, ["slt", "awb"])


def test_captions_of_another_engine_are_scored_apart():
    captions = said(*["a bird"] * 4)
    embeddings = keyed(captions, clean=RIGHT) | keyed(captions[1:], other_engine=WRONG[1:])
    scores, table = robustness_scores(GALLERY, captions, conditions([], [], "white"), embeddings, ["x"] * 4, {"x"})
    assert scores["other_engine_map"] == pytest.approx(WRONG_MAP) and scores["other_engine_captions"] == 3
    assert scores["other_engine_map_chance"] == pytest.approx(float(chance_average_precision(2, 4)))
    assert [row["condition"] for row in table] == ["clean", "other_engine"]  # there are no unseen voices to compare


def test_what_cannot_be_said_again_is_left_out_of_that_comparison():
    captions = said("a bird", "a bird", "", "")  # the first in a voice that training heard, two recorded
    voices = ["z", "x", "x", ""]
    assert to_say_again(captions, voices, {"z"}) == [captions[1]]
    embeddings = keyed(captions, clean=np.concatenate([WRONG[:1], RIGHT[1:2], WRONG[2:]]))
    embeddings |= keyed(captions[1:2], seen_voices=WRONG[1:2])
    scores, _ = robustness_scores(GALLERY, captions, conditions([], [], "white"), embeddings, voices, {"z"})
    assert scores["unseen_voices_map"] == 1 and scores["seen_voices_map"] == pytest.approx(WRONG_MAP)
    assert scores["seen_voices_captions"] == scores["unseen_voices_captions"] == 1 and scores["captions"] == 4


def test_recordings_are_grouped_by_their_speakers():
    voices, trained = ["x", "y", "x", ""], {"x", "z", ""}
    speech = np.concatenate([RIGHT[:1], WRONG[1:2], RIGHT[2:3], WRONG[3:]])
    scores, _ = scored(CAPTIONS, speech, voices, trained)
    assert scores["seen_voices_map"] == 1 and scores["seen_voices_captions"] == 2
    assert scores["unseen_voices_map"] == pytest.approx(WRONG_MAP) and scores["unseen_voices_captions"] == 1
    assert scores["unseen_voices_map_chance"] == pytest.approx(float(chance_average_precision(2, 4)))
    groups = by_voice(voices, trained)
    assert groups["seen_voices"].tolist() == [0, 2] and groups["unseen_voices"].tolist() == [1]
    assert by_voice(voices, {"x"})["unseen_voices"].tolist() == [1]  # "" is nobody, and so not unseen


@pytest.mark.parametrize("captions", [CAPTIONS, said(*["a bird"] * 4)])  # or an engine of one voice
def test_one_group_of_voices_alone_is_counted_and_not_scored(captions):
    scores, table = scored(captions, RIGHT, ["x", "y", "x", "y"], {"x", "y"})
    assert scores["seen_voices_captions"] == 4 and scores["unseen_voices_captions"] == 0
    assert not {"seen_voices_map", "unseen_voices_map"} & scores.keys()
    assert [row["condition"] for row in table] == ["clean"]


def test_who_speaks_tells_what_is_spoken_of_where_training_heard_it():
    """Ann speaks of a alone, Ben of both, and nobody has heard Cid, nor who says the last."""
    images = [Image(f"{c}/t", "", c, "train") for c in "ab"] + IMAGES
    heard = [
        Caption(f"{c}/t/0{n}", f"{c}/t", "", f"{c}{n}.wav", speaker=s) for n, (c, s) in enumerate(("aA", "aB", "bB"))
    ]
    asked = [replace(c, speaker=s) for c, s in zip(CAPTIONS, ("A", "B", "C", ""), strict=True)]
    found = speaker_control(Catalog(tuple(images), (*heard, *asked)))
    chance = float(chance_average_precision(2, 4))
    assert found == {"speech_to_image_map_speaker": pytest.approx((1 + 2 * chance) / 3), "speaker_captions": 3}
    wrong = [replace(c, speaker="A") for c in CAPTIONS[2:]]  # of b, whose images come after both of a
    assert speaker_control(Catalog(tuple(images), (*heard, *wrong)))["speech_to_image_map_speaker"] == WRONG_MAP
    assert speaker_control(Catalog(tuple(images), tuple(said(*["a bird"] * 4)))) == {}


def test_languages_are_scored_apart():
    captions = [replace(c, language=code) for c, code in zip(CAPTIONS, ("en", "fr", "en", ""), strict=True)]
    speech = np.concatenate([RIGHT[:1], WRONG[1:2], RIGHT[2:]])
    scores, _ = scored(captions, speech)
    assert list(scores["languages"]) == ["en", "fr", "und"]
    assert [part["captions"] for part in scores["languages"].values()] == [2, 1, 1]
    assert [part["map"] for part in scores["languages"].values()] == pytest.approx([1, WRONG_MAP, 1])
    assert scores["languages"]["fr"]["map_chance"] == pytest.approx(float(chance_average_precision(2, 4)))


def test_a_language_is_also_scored_by_whether_its_voices_were_heard():
    captions = [replace(c, language=code) for c, code in zip(CAPTIONS, ("fr", "fr", "be", "be"), strict=True)]
    speech = np.concatenate([RIGHT[:1], WRONG[1:2], RIGHT[2:]])
    scores, _ = scored(captions, speech, ["one", "two", "three", "three"], {"one"})
    french, belarusian = scores["languages"]["fr"], scores["languages"]["be"]
    assert (french["seen_voices"]["map"], french["seen_voices"]["captions"]) == (1, 1)
    assert (french["unseen_voices"]["map"], french["unseen_voices"]["captions"]) == (pytest.approx(WRONG_MAP), 1)
    assert belarusian["unseen_voices"]["captions"] == 2 and "seen_voices" not in belarusian


def test_embeddings_come_in_order_a_block_at_a_time():
    sizes = []

    def embed(log_mels):
        sizes.append(len(log_mels))
        return np.array([[log_mel.mean(), len(log_mel)] for log_mel in log_mels])

    spoken = [(f"k{i}", {"clean": np.full((3, 2), i), "fast": np.full((2, 2), 10 * i)}) for i in range(5)]
    spoken += [("k0", {"seen_voices": np.full((4, 2), 7)})]
    found = embed_by_condition(iter(spoken), embed, block=2)
    found = {name: {key: row.tolist() for key, row in part.items()} for name, part in found.items()}
    assert found["clean"] == {f"k{i}": [i, 3] for i in range(5)}
    assert found["fast"] == {f"k{i}": [10 * i, 2] for i in range(5)}
    assert found["seen_voices"] == {"k0": [7, 4]}
    assert max(sizes) == 2
