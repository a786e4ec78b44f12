"""Tiny trainings of SEN and RDG with every term; with torchrun each in as many processes as it starts.

    torchrun --nproc-per-node 2 tests/training_runs.py FOLDER

The first process prints the losses of each run of RUNS, a row a step, as JSON.
"""

import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from test_rdg_training import RECIPE as RDG_RECIPE
from test_rdg_training import Sounds, small_sen, training_set
from test_sen_training import RECIPE as SEN_RECIPE
from tiny import Frozen, rdg
from torch import nn

from s2igan import training as loop
from s2igan.data_parallel import is_first, of_first
from s2igan.rdg import training as rdg_training
from s2igan.rdg.captions import CaptionDecoder
from s2igan.rdg.training import Preview
from s2igan.rdg.training import Recipe as RdgRecipe
from s2igan.sen import training as sen_training
from s2igan.sen.model import build_sen
from s2igan.store import FixedReader, FixedWriter, ImageReader, ImageWriter, RaggedReader, RaggedWriter

STEPS = 20
SIZES = {"bands": 40, "conv_channels": (8, 8), "gru_hidden": 4, "attention_hidden": 4, "width": 0.02}
IMAGES, CAPTIONS = 12, 23  # batches of 5 and one of 3: no two processes have as many


def write_data(folder: Path) -> None:
    """Log-mels, features, regions and images, all at random."""
    rng = np.random.default_rng(0)
    with (
        RaggedWriter(folder / "logmel.h5", "logmel", 40, np.float16) as speech,
        FixedWriter(folder / "features.h5", "image_features", (2, 6), np.float32) as features,
        FixedWriter(folder / "regions.h5", "image_regions", (2, 4, 6), np.float32) as regions,
        ImageWriter(folder / "images.h5") as images,
    ):
        for i in range(IMAGES):
            features.append([f"i{i}"], rng.normal(size=(1, 2, 6)))
            regions.append([f"i{i}"], rng.normal(size=(1, 2, 4, 6)))
            images.append(f"{i // 4}/{i}", rng.integers(0, 255, (3, 36, 36)))
        for i in range(CAPTIONS):
            speech.append(f"c{i}", rng.normal(size=(int(rng.integers(16, 40)), 40)))


def sen_run(folder: Path, **config) -> tuple[nn.Module, list[dict]]:
    """The network after STEPS steps, and each one's losses."""
    rows = np.arange(CAPTIONS)
    pairs = sen_training.Pairs(rows, rows // 2, np.where(rows < 20, rows // 2 % 3, -1))  # some of no known class
    model = build_sen({**SIZES, "feature_dim": 6, "classes": 3, **config}, seed=0)
    recipe = replace(SEN_RECIPE, captions=STEPS * CAPTIONS // 5 - 1, batch_size=5)
    every = partial(train_and_tell_every_step, loop.train)
    with (
        pytest.MonkeyPatch.context() as patch,
        RaggedReader(folder / "logmel.h5", "logmel") as speech,
        FixedReader(folder / "features.h5", "image_features") as features,
        FixedReader(folder / "regions.h5", "image_regions") as regions,
    ):
        patch.setattr(loop, "train", every)
        nothing = sen_training.Pairs(*[rows[:0]] * 3)
        result = sen_training.train(model, speech, features, pairs, nothing, recipe, image_regions=regions)
    return model, [{name: row[name] for name in row if "val_" not in name} for row in result.curves]


def train_and_tell_every_step(train, schedule, *arguments, **options):
    return train(replace(schedule, row_every=1), *arguments, **options)


def rdg_run(folder: Path, batch: dict, recipe: dict, trained: bool = False, **network) -> tuple[nn.Module, list[dict]]:
    """The same of RDG, whose batches have four images."""
    model = rdg(sen=small_sen() if trained else None, **network)
    rates = {"lr": 1e-4, "lr_discriminator": 1e-4}  # tenfold, what float32 leaves out grows to 1e-2 within STEPS
    recipe = RdgRecipe(**RDG_RECIPE | {"images": 4 * STEPS} | rates | recipe)
    if trained:
        heard, preview = Sounds(), Preview(torch.ones(2, 20, 5), torch.tensor([20, 17]))
    else:
        rng = np.random.default_rng(2)
        heard = rng.normal(size=(24, 4, 8) if network.get("attention") else (24, 8)).astype("f4")
        if network.get("attention"):
            heard /= np.linalg.norm(heard, axis=2, keepdims=True)
            heard[::3, 3] = 0  # fewer places
        preview = Preview(torch.from_numpy(heard[:2]))
    torch.manual_seed(3)
    projection, decoder = nn.Linear(12, 8), None
    with ImageReader(folder / "images.h5") as images:
        data = training_set(images, speech=heard, labels=np.arange(12) // 4 - (np.arange(12) // 8), **batch)
        if not trained:
            data.embeddings = heard[:, 0]  # as HeardCaptions has them
        if recipe.caption_weight:
            data.words = np.random.default_rng(0).integers(3, size=(24, 4)).cumprod(axis=1).clip(max=2)
            decoder = CaptionDecoder(12, 3)
        history = rdg_training.train(
            *(model, data, recipe, preview, torch.device("cpu")),
            image_embedding=projection,
            frozen_encoder=Frozen(),
            decoder=decoder,
        )
    history.rows[-1]["drawn"] = history.sheets[-1].mean()  # by the averages
    return model, history.rows


RUNS = {
    "sen": partial(sen_run, places=3, region_weight=1.0),
    "li2020": partial(sen_run, encoder="li2020", image_projection="none", objective="joint_embedding"),
    "rdg": partial(
        rdg_run,
        batch={"mismatched": True, "matching_captions": 5},
        recipe={
            "matching_weight": 5.0, "distillation_weight": 2.0, "region_weight": 1.0, "competition_weight": 1.0,
            "r1_weight": 0.5, "translation": 0.25, "relation_interval": 3, "local_weight": 0.5,
        },
        attention=True, sentence_attention=True, matching=True, local=True, own_condition=True, projection=True,
        padding="replicate",
    ),
    "rdg with sen": partial(
        rdg_run,
        batch={"relation_negative": "redrawn_once"},
        recipe={"sen_weight": 1.0, "contrastive_weight": 2.0, "caption_weight": 1.0, "matching_weight": 1.0},
        trained=True, modulation=True, matching=True,
    ),
}  # fmt: skip


if __name__ == "__main__":
    torch.set_num_threads(1)
    found = {}
    for name, run in RUNS.items():
        model, found[name] = run(Path(sys.argv[1]))
        weights = [value.double().sum().item() for value in model.state_dict().values()]
        assert of_first(weights) == weights, name  # to the last bit: the processes do not drift apart
    if is_first():
        print(json.dumps(found))
