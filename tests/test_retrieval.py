from itertools import permutations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from s2igan.errors import InputError
from s2igan.metrics.retrieval import (
    average_precision,
    chance_average_precision,
    choose_queries,
    cross_modal_retrieval,
    image_retrieval_map,
    precision_at,
    tied_average_precision,
)


def random_case(rng, queries, gallery, rounded=None):
    scores = rng.normal(size=(queries, gallery)).astype(np.float32)
    if rounded is not None:
        scores = scores.round(rounded)
    relevant = rng.random((queries, gallery)) < 0.2
    relevant[:, 0] = True
    return scores, relevant


@pytest.mark.parametrize("rounded", [None, 1, 0])  # without ties, with some, with many
def test_average_precision_is_that_of_scikit_learn(rounded):
    scores, relevant = random_case(np.random.default_rng(0), 40, 60, rounded)
    expected = [average_precision_score(r, s) for r, s in zip(relevant, scores, strict=True)]
    np.testing.assert_allclose(average_precision(scores, relevant), expected, rtol=1e-12)


@pytest.mark.parametrize(("relevant", "gallery"), [(1, 1), (1, 12), (3, 12), (12, 12), (20, 100)])
def test_chance_is_that_of_random_orders(relevant, gallery):
    rng = np.random.default_rng(0)
    scores = rng.random((20000, gallery))
    marked = np.broadcast_to(np.arange(gallery) < relevant, scores.shape)
    simulated = average_precision(scores, marked)
    error = simulated.std() / np.sqrt(len(scores))
    assert chance_average_precision(relevant, gallery) == pytest.approx(simulated.mean(), abs=4 * error + 1e-12)


def test_chance_of_the_published_protocol():
    # Two images x ten captions of each class: 20 classes (Oxford-102), 50 classes (CUB).
    # The published lists give 6.32 and 2.63; the formula 6.326 and 2.636.
    assert 100 * chance_average_precision(20, 400) == pytest.approx(6.32, abs=0.01)
    assert 100 * chance_average_precision(20, 1000) == pytest.approx(2.63, abs=0.01)


def test_perfect_cross_modal_retrieval():
    gallery = np.eye(6)
    classes = ["a", "a", "b", "b", "c", "c"]
    centre = gallery + 0.5 * gallery[[1, 0, 3, 2, 5, 4]]
    scores = cross_modal_retrieval(centre, gallery, classes, classes, np.arange(6))
    assert scores["map"] == scores["r1"] == scores["r5"] == 1 and scores["median_rank"] == 1
    assert scores["map_chance"] == pytest.approx(float(chance_average_precision(2, 6)))


def test_class_and_pair_are_told_apart():
    gallery, classes = np.eye(4), ["a", "a", "b", "b"]
    # nearest: the other image of the class; then one's own
    query = gallery[[1, 0, 3, 2]] + 0.5 * gallery
    scores = cross_modal_retrieval(query, gallery, classes, classes, np.arange(4))
    assert scores["map"] == 1 and scores["r1"] == 0 and scores["r5"] == 1
    assert scores["median_rank"] == 2


def test_the_fifth_is_among_the_first_five_and_the_sixth_is_not():
    query = np.arange(6, 0, -1.0)[None].repeat(2, axis=0)
    scores = cross_modal_retrieval(query, np.eye(6), ["a", "a"], ["a"] * 6, np.array([4, 5]))
    assert (scores["r1"], scores["r5"], scores["r10"], scores["median_rank"]) == (0, 0.5, 1, 5.5)


def test_nearest_of_several_own_items_counts():
    gallery = np.eye(4)
    pairs = np.array([[0, 1, 2], [3, -1, -1]])
    query = np.array([[0.2, 0.5, 0.3, 0.4], [0.9, 0.1, 0.2, 0.3]])
    scores = cross_modal_retrieval(query, gallery, ["a", "b"], ["a", "a", "a", "b"], pairs)
    assert scores["r1"] == 0.5 and scores["median_rank"] == 1.5


def test_a_constant_embedding_scores_chance_at_best():
    classes = np.repeat(np.arange(5), 20)
    same = np.ones((100, 8))
    gallery = np.random.default_rng(0).normal(size=(100, 8))
    scores = cross_modal_retrieval(same, same, classes, classes, np.arange(100))
    assert scores["map"] == pytest.approx(0.2) and scores["r10"] == 0
    scores = cross_modal_retrieval(same, gallery, classes, classes, np.arange(100))
    assert scores["r1"] == 0.01
    assert precision_at(same, same, classes, classes, [1, 50]) == pytest.approx([0.2, 0.2])


def test_blocks_and_order_do_not_matter(monkeypatch):
    rng = np.random.default_rng(0)
    query, gallery = rng.normal(size=(50, 8)), rng.normal(size=(30, 8))
    own = rng.integers(30, size=50)
    gallery_classes = np.arange(30) % 6
    whole = cross_modal_retrieval(query, gallery, gallery_classes[own], gallery_classes, own)
    order = rng.permutation(30)
    back = np.argsort(order)
    monkeypatch.setattr("s2igan.metrics.retrieval.BLOCK", 7)
    other = cross_modal_retrieval(query, gallery[order], gallery_classes[own], gallery_classes[order], back[own])
    assert other == pytest.approx(whole)


def test_precision_at_k():
    gallery, query = np.eye(4), np.array([[4.0, 3, 2, 1]])
    curve = precision_at(query, gallery, ["a"], ["a", "b", "a", "b"], [1, 2, 3, 4])
    assert curve == pytest.approx([1, 1 / 2, 2 / 3, 1 / 2])


def image_case():
    """Four classes of two query images and one further image, three fakes from each image."""
    centres = np.eye(4)
    images = np.array([f"c{c}/i{i}" for c in range(4) for i in range(3)])
    classes = np.repeat(np.arange(4), 3)
    queried = np.tile([True, True, False], 4)
    rng = np.random.default_rng(0)
    query = centres[classes[queried]] + 0.01 * rng.random((8, 4))
    fakes = centres[np.repeat(classes, 3)] + 0.01 * rng.random((36, 4))
    spoken = np.repeat(classes, 3), np.repeat(images, 3)
    return query, classes[queried], images[queried], fakes, *spoken


@pytest.mark.parametrize("same_images", [False, True])
def test_perfect_image_retrieval_and_its_chance(same_images):
    score, chance = image_retrieval_map(*image_case(), same_images=same_images)
    assert score == 1
    if same_images:  # 8 images x 3 fakes, 6 of the class
        assert chance == pytest.approx(float(chance_average_precision(6, 24)))
    else:  # 12 images x 3 fakes less the 3 of one's own captions
        assert chance == pytest.approx(float(chance_average_precision(6, 33)))


def test_fakes_of_ones_own_captions_do_not_help_but_in_the_authors_protocol():
    # A generator that copies its image and knows nothing of the class.
    rng = np.random.default_rng(1)
    images = np.array([f"c{c}/i{i}" for c in range(10) for i in range(2)])
    classes = np.repeat(np.arange(10), 2)
    query = rng.normal(size=(20, 64))
    fakes, fake_classes, fake_images = (np.repeat(x, 5, axis=0) for x in (query, classes, images))
    case = (query, classes, images, fakes, fake_classes, fake_images)
    strict, chance = image_retrieval_map(*case, same_images=False)
    lenient, _ = image_retrieval_map(*case, same_images=True)
    assert strict < chance + 0.15 and lenient > 0.5


def test_image_retrieval_needs_a_second_image_of_the_class():
    case = (np.eye(2), ["a", "b"], ["a/0", "b/0"], np.eye(2), ["a", "b"], ["a/0", "b/0"])
    with pytest.raises(InputError, match="a/0: no generated image of class a"):
        image_retrieval_map(*case, same_images=False)
    assert image_retrieval_map(*case, same_images=True)[0] == 1


def test_chosen_queries_are_stable():
    keys = np.array([f"{c}/{i:03d}" for c in "abc" for i in range(30)])
    classes = np.array([key[0] for key in keys])
    chosen = keys[choose_queries(keys, classes, per_class=2, seed=3)]
    assert [key[0] for key in chosen] == list("aabbcc") and len(set(chosen)) == 6
    order = np.random.default_rng(0).permutation(90)
    again = keys[order][choose_queries(keys[order], classes[order], per_class=2, seed=3)]
    assert list(again) == list(chosen)
    without_b = classes != "b"
    fewer = keys[without_b][choose_queries(keys[without_b], classes[without_b], seed=3)]
    assert list(fewer) == [key for key in chosen if key[0] != "b"]
    assert list(keys[choose_queries(keys, classes, seed=4)]) != list(chosen)


def test_errors_say_what_was_found():
    with pytest.raises(InputError, match=r"class b: 1 image\(s\), 2 are needed"):
        choose_queries(["a/0", "a/1", "b/0"], ["a", "a", "b"])
    with pytest.raises(InputError, match="row 1 of the gallery"):
        cross_modal_retrieval(np.eye(2), np.diag([1, 0]), ["a", "b"], ["a", "b"], [0, 1])


def test_average_precision_of_ties_is_that_of_all_orders():
    scores, relevant = np.array([2, 1, 1, 1, 0, 0]), np.array([0, 1, 0, 1, 1, 0], bool)
    orders = [(0, *middle, *last) for middle in permutations((1, 2, 3)) for last in permutations((4, 5))]
    hits = [relevant[list(order)] for order in orders]
    each = [(np.cumsum(hit) / np.arange(1, 7) * hit).sum() / 3 for hit in hits]
    assert tied_average_precision(scores, relevant) == pytest.approx(np.mean(each))
    assert tied_average_precision(np.zeros(6), relevant) == pytest.approx(float(chance_average_precision(3, 6)))
