import numpy as np
import pytest
import torch

from s2igan.catalog import Caption, Catalog, Image, write_catalog
from s2igan.errors import InputError
from s2igan.sen.embedding import open_captions
from s2igan.sen.model import build_sen, embed_speech
from s2igan.sen.text_encoder import ALPHABET, CharacterEncoder, TextReader, one_hot

WIDTH = 1 / 32
LONG = "this small bird has a bright red crown, a short black bill and a white belly with brown wings"
TEXTS = ["red", "a blue bird.", LONG[:65], LONG[:66], LONG[:67], LONG, LONG + ", " + LONG]


def read(rows: np.ndarray) -> str:
    return "".join(ALPHABET[index] for index in rows.argmax(axis=1))


def test_sizes_are_the_published_ones():
    with torch.device("meta"):
        encoder = CharacterEncoder(output_dim=1024)
    letters = len(ALPHABET)
    assert [tuple(c.weight.shape) for c in encoder.convolutions] == [(384, letters, 4), (512, 384, 4), (256, 512, 4)]
    convolutions = 4 * (letters * 384 + 384 * 512 + 512 * 256) + 384 + 512 + 256
    recurrent, linear = 3 * (256 * 256 + 256 * 256 + 2 * 256), 256 * 1024  # centred, hence no bias
    assert sum(p.numel() for p in encoder.parameters()) == convolutions + recurrent + linear
    assert encoder.embedding_dim == 1024


def test_different_texts_have_different_embeddings():
    model = build_sen({"encoder": "char_cnn_rnn", "width": WIDTH, "feature_dim": 9, "classes": 0})
    found = embed_speech(model, [one_hot(text, "x") for text in TEXTS], 2)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    gaps = np.abs(found[:, None] - found[None]).max(axis=2) + np.eye(len(TEXTS))
    assert gaps.min() > 1e-5


def test_text_is_small_letters_without_accents_and_single_blanks():
    assert read(one_hot("  Crète\tRouge,\n 2 ", "x")) == "crete rouge, 2"
    assert read(one_hot("the 鳥 bird", "x")) == "the  bird"  # what is not of the alphabet is left out
    rows = one_hot("ab", "x")
    assert rows.shape == (2, len(ALPHABET)) and rows.sum() == 2 and rows[0, 0] == rows[1, 1] == 1


def test_a_caption_without_words_is_named():
    with pytest.raises(InputError, match="caption a/00/01: no text; give it words"):
        TextReader([("a/00/00", "red"), ("a/00/01", " ")])
    with pytest.raises(InputError, match="'赤い 鳥' has no character that sen.encoder=char_cnn_rnn knows"):
        TextReader([("a/00/00", "赤い 鳥")])


def test_it_reads_as_a_ragged_file_does(folder):
    splits = {"a": "train", "b": "test", "v": "val"}
    images = tuple(Image(f"{name}/0{n}", "", name, split) for name, split in splits.items() for n in (0, 1))
    captions = tuple(Caption(f"{image.key}/00", image.key, f"a {image.key} bird", language="en") for image in images)
    write_catalog("data/catalog", Catalog(images, captions))
    with open_captions({"encoder": "char_cnn_rnn"}) as reader:
        assert len(reader) == 6 and reader.keys == [caption.key for caption in captions]
        row = reader.index("b/01/00")
        assert read(reader.value(row)) == "a b/01 bird" and reader.lengths[row] == 11
        assert [read(value) for value in reader.values([1, 0])] == ["a a/01 bird", "a a/00 bird"]
        assert len(reader.values()) == 6
        with pytest.raises(InputError, match="captions.csv: no key c/00/00 among its 6"):
            reader.index("c/00/00")
