"""The model card of an export: README.md as the Hugging Face Hub reads it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from s2igan.info import trained_on, trained_on_lines
from s2igan.pipeline import Pipeline
from s2igan.report.measures import labels, less_is_better, read_scores, value
from s2igan.speech.recordings import RECORDINGS

# What the data set's images and captions are, and whether the weights may go anywhere under the code's licence.
DATA = {
    "aviary": ("birds drawn by the project's own code, and sentences of its own grammar about their colours", True),
    "cub": ("CUB-200-2011: photographs of birds, with the captions of Reed et al. (2016)", False),
    "oxford102": ("Oxford-102: photographs of flowers, with the captions of Reed et al. (2016)", False),
    "flickr8k": ("Flickr8k: photographs, with recordings of people who read its captions", False),
    "places": ("Places Audio: photographs of scenes, described by people in their own words", False),
    "stamps": ("pictures and recorded words of the stamps of Tux Paint, GPL version 2 or later", False),
    "ktuberling": ("parts of KTuberling's scenes and recordings of their names, GPL version 2 or later", False),
    "emoji": ("emoji of free sets, some under CC BY-SA, and their names in many languages", False),
    "manifest": ("a data set of somebody's own", False),
}
Scores = dict[tuple[str, str], dict[str, float]]  # key and label of a measure -> column -> number
FREE = "The code and these weights are under the MIT License."
NOT_FREE = (
    "The code is under the MIT License. The weights were learned from data that keep their own terms; look at those "
    "before you pass the weights on."
)
OUTPUTS = ["small", "medium", "image"]  # of generator.onnx, the last ones where fewer are drawn
MEASURES = ("speech_to_image_map", "image_to_speech_map", "map", "fid", "is_mean", "part_colour_accuracy")
COLUMNS = {"score": "score", "chance": "chance", "untrained": "untrained", "real": "real images"}
CARD = """\
---
{header}---

# Speech to image

A speech encoder and a generator: a spoken description becomes an image, without text in between. They are an S2IGAN
(Wang et al., 2020), made by the project s2igan.

```python
import numpy as np, onnxruntime, soundfile
from PIL import Image
samples, rate = soundfile.read("mine.wav", dtype="float32")  # mono, at {rate} Hz
latent = np.random.default_rng(0).standard_normal({latent}, np.float32)  # another one, another image
(image,) = onnxruntime.InferenceSession("speech_to_image.onnx").run(None, {{"samples": samples, "latent": latent}})
Image.fromarray(np.uint8(255 * image + 0.5)).save("mine.png")
```

| file | takes | gives |
|---|---|---|
| `speech_to_image.onnx` | `samples` (T,), float32 in [-1, 1] at {rate} Hz, {shortest:.2f} s or more; \
`latent` ({latent},), N(0, 1) | `image` ({size}, {size}, 3) in [0, 1] |
| `log_mel.onnx` | `samples` (T,) | `log_mel` (F, {bands}) |
| `speech_encoder.onnx` | `log_mel` (F, {bands}) | `embedding` ({embedding},) of length 1 |
| `generator.onnx` | `embedding` ({embedding},), `latent` ({latent},) | {outputs} pixels |
| `rdg/`, `rdg_sen/` | | the weights as safetensors, for `s2igan.load(FOLDER).draw(samples, rate)` |

A graph takes one utterance and draws one image. `s2igan speak --seed` draws its latents by torch, so that the seeds of
NumPy above give other images of the same description.

## Data

{data}

```
{facts}
```

## Intended use

Research and teaching on speech without text, and images of what the data set speaks of. Speech of other things gets an
image, too: of whatever lies nearest.

## Limits

- The networks know the words and things of their data set, at {size} × {size} pixels.
- They have heard {heard} only, and understand others less.
- What is drawn is no evidence of anything: it is made up, of a kind that training has shown.

## Scores

{scores}

## Licence

{licence}

## Citation

```bibtex
@inproceedings{{wang2020s2igan,
  title     = {{{{S2IGAN}}: Speech-to-Image Generation via Adversarial Learning}},
  author    = {{Wang, Xinsheng and Qiao, Tingting and Zhu, Jihua and Hanjalic, Alan and Scharenborg, Odette}},
  booktitle = {{Proc. Interspeech}},
  year      = {{2020}}
}}
```
"""


def model_card(pipeline: Pipeline, models: Path) -> str:
    """The card of the models in `models`, with the data and the scores of the run beside them, where there are any."""
    data, scores = trained_on(models), _scores(models.parent / "metrics")
    name = data["dataset"]
    words, free = DATA.get(name, ("not known here: there was no data/catalog beside the models", False))
    size, log_mel = pipeline.shape[1], pipeline.log_mel
    return CARD.format(
        header=yaml.safe_dump(_header(data, scores, free), sort_keys=False, allow_unicode=True),
        rate=pipeline.sample_rate,
        latent=pipeline.generator.latent_dim,
        shortest=log_mel.samples(pipeline.sen.speech.min_frames) / pipeline.sample_rate + 0.005,
        bands=log_mel.bands,
        embedding=", ".join(map(str, pipeline.hears)),
        outputs=", ".join(
            f"`{name}` of {pixels}"
            for name, pixels in zip(OUTPUTS[-len(pipeline.sizes) :], pipeline.sizes, strict=True)
        ),
        size=size,
        data=f"{words[0].upper()}{words[1:]}.",
        facts="\n".join(trained_on_lines(data)),
        heard="the speakers of their data set" if data["speech"]["engine"] == RECORDINGS else "synthetic voices",
        scores="\n".join(_score_table(scores)),
        licence=FREE if free else NOT_FREE,
    )


def _header(data: dict[str, Any], scores: Scores, free: bool) -> dict[str, Any]:
    """The card's metadata, as https://huggingface.co/docs/hub/model-cards describes it."""
    header: dict[str, Any] = {"license": "mit"} if free else {"license": "other", "license_name": "terms-of-the-data"}
    header |= {"library_name": "s2igan", "tags": ["speech-to-image", "gan", "onnx"]}
    if data.get("languages"):
        header["language"] = data["languages"]
    if scores:
        name = data["dataset"] or "unknown"
        metrics = [{"type": key, "name": label, "value": found["score"]} for (key, label), found in scores.items()]
        results = {"task": {"type": "speech-to-image"}, "dataset": {"type": name, "name": name}, "metrics": metrics}
        header["model-index"] = [{"name": "s2igan", "results": [results]}]
    return header


def _scores(metrics: Path) -> Scores:
    """Of each of MEASURES that a run has, those of COLUMNS that are there."""
    found = read_scores(metrics)
    scores = {}
    for key, label in (item for measures in labels(found, MEASURES).values() for item in measures.items()):
        numbers = {column: value(found, key, column) for column in COLUMNS}
        told = label + " (lower is better)" * less_is_better(key)
        scores[key, told] = {column: number for column, number in numbers.items() if number is not None}
    return scores


def _score_table(scores: Scores) -> Iterator[str]:
    if not scores:
        yield "Not known here: there was no metrics/ beside the models."
        return
    yield "Of the test split, by the run that made the models. Data and encoders differ from those of published scores."
    yield ""
    yield f"| measure | {' | '.join(COLUMNS.values())} |"
    yield "|---|---|---|---|---|"
    for (_, label), found in scores.items():
        yield f"| {label} | {' | '.join(f'{found[c]:.4g}' if c in found else '' for c in COLUMNS)} |"
