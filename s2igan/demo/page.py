"""The page itself: what `Run` gives as HTML, and the Gradio app around it. Nothing on it comes from elsewhere."""

import html
import io
import os
import warnings
from collections.abc import Callable, Sequence

import numpy as np

from s2igan.datasets.drawn.birds import COLOURS, random_bird
from s2igan.datasets.drawn.grammar import changeable, describe, read
from s2igan.demo.run import MAX_BYTES, MAX_CHARACTERS, MAX_SECONDS, Heard, Limit, Near, Run, scores
from s2igan.errors import InputError
from s2igan.figures import as_image, png
from s2igan.report.embedded import data_uri
from s2igan.speech.audio import encode_flac

WAITING = 20  # calls in the queue; one is at work
KEPT = 600  # seconds that an upload stays on the disk, at most twice
# The browser loads nothing that is not ours, whatever Gradio's page asks for.
POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'self'"
INSTALL = 'python -m pip install -e ".[demo]"'
FIRST = "this bird has a red crown, a white belly and blue wings"
SECOND = "a yellow bird with a black head, black wings and a long brown tail"
STYLE = """
.s2 {display: flex; flex-wrap: wrap; gap: 12px; align-items: flex-end; margin: 4px 0 14px}
.s2 figure {margin: 0; max-width: 220px}
.s2 img {display: block; border-radius: 4px; image-rendering: pixelated; max-width: 100%}
.s2 img.chart {image-rendering: auto; width: 100%}
.s2 figcaption, .s2-note {font-size: 13px; opacity: .8; line-height: 1.35; padding-top: 3px}
.s2 audio {width: 220px; height: 36px; margin-top: 4px}
.s2:has(img[width='64']) {gap: 4px}
.s2 .wide {max-width: 640px; flex: 1 1 320px}
.s2-title {margin: 10px 0 4px; font-weight: 600}
.s2-table {overflow-x: auto}
.s2-table :is(table, tr) {border: 0 !important}
.s2-table table {border-collapse: collapse; font-variant-numeric: tabular-nums}
.s2-table :is(td, th) {padding: 5px 12px; border: solid #8885 !important; border-width: 0 0 1px !important}
.s2-table :is(td, th) {text-align: right}
.s2-table :is(td, th):first-child {text-align: left}
"""


# ---------------------------------------------------------------- HTML of what is shown


def picture(pixels: np.ndarray, size: int, words: str, below: str = "") -> str:
    """An image (3, S, S), uint8, `size` pixels wide on the screen, with `words` for who cannot see it."""
    return (
        f'<figure><img src="{data_uri("image/png", png(as_image(pixels)))}" width="{size}" height="{size}" '
        f'alt="{html.escape(words)}">{below and f"<figcaption>{below}</figcaption>"}</figure>'
    )


def player(flac: bytes) -> str:
    """A sound with a button to play it."""
    return f'<audio controls preload="metadata" src="{data_uri("audio/flac", flac)}"></audio>'


def section(title: str, *parts: str) -> str:
    """Parts side by side, under a title."""
    return f'<div class="s2-title">{title}</div><div class="s2">{"".join(parts)}</div>'


def sound(heard: Heard, rate: int) -> str:
    """What was heard: its words, a player, waveform and log-mel; of a text that was read, its words."""
    if heard.samples is None:
        return section("Read", f'<div class="s2-note">“{html.escape(heard.name)}”</div>')
    below = f"<figcaption>{html.escape(heard.name)}<br>{player(encode_flac(heard.samples, rate))}</figcaption>"
    chart = f'<img class="chart" src="{data_uri("image/png", charts(heard, rate))}" alt="waveform and log-mel">'
    return section("Heard", f'<figure class="wide">{chart}{below}</figure>')


def charts(heard: Heard, rate: int) -> bytes:
    """Waveform over log-mel, as a PNG that suits a light page and a dark one."""
    import matplotlib
    from matplotlib.figure import Figure

    style: dict = dict.fromkeys(("axes.labelcolor", "xtick.color", "ytick.color"), "#888888")
    style |= {"axes.edgecolor": "#88888880", "axes.facecolor": "none"}
    file = io.BytesIO()
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(6.4, 3.0), layout="constrained", facecolor="none")
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(1, 1.6))
        seconds = len(heard.samples) / rate
        top.plot(np.arange(len(heard.samples)) / rate, heard.samples, linewidth=0.4, color="#e8710a")
        top.set_ylabel("waveform")
        top.set_yticks([])
        bottom.imshow(heard.log_mel.T, origin="lower", aspect="auto", extent=(0, seconds, 0, heard.log_mel.shape[1]))
        bottom.set_ylabel("log-mel band")
        bottom.set_xlabel("seconds")
        figure.savefig(file, format="png", dpi=130)
    return file.getvalue()


def drawn(scales: Sequence[np.ndarray], variations: np.ndarray, words: str) -> str:
    """The image at its scales, and with other noise."""
    sizes = [scale.shape[-1] for scale in scales]
    images = [
        picture(scale, 192 * size // sizes[-1], words, f"{size} × {size}")
        for scale, size in zip(scales, sizes, strict=True)
    ]
    others = [picture(image, 64, f"{words}, other noise") for image in variations]
    title = "Drawn, at three scales" if len(images) == 3 else "Drawn"
    return section(title, *images) + section("The same description, other noise", *others)


def neighbours(captions: Sequence[Near], images: Sequence[Near]) -> str:
    """The training captions, with their sound, and the training images nearest in the shared space."""

    def cards(found: Sequence[Near]) -> list[str]:
        cards = []
        for near in found:
            words = near.caption.text or near.caption.recording
            below = f"cosine {near.cosine:.2f}<br>{html.escape(words)}{near.flac and player(near.flac) or ''}"
            cards.append(picture(near.image, 128, words, below))
        return cards

    heard = section("Training captions nearest to what was heard, each with its image", *cards(captions))
    return heard + section("Training images nearest to what was heard, each with its first caption", *cards(images))


def score_table(rows: Sequence[tuple[str, Sequence[float | None]]]) -> str:
    """Scores beside what they are to be compared with."""
    if not rows:
        return '<p class="s2-note">No scores here: metrics/ is empty. `dvc repro` writes them.</p>'
    heads = ("measure", "this run", "chance", "floor: untrained", "floor: shuffled", "ceiling: oracle", "ceiling: real")
    lines = ["".join(f"<th>{head}</th>" for head in heads)]
    for name, values in rows:
        cells = ["" if value is None else f"{value:.4g}" if value >= 10 else f"{value:.3f}" for value in values]
        cells[0] = f"<b>{cells[0]}</b>"
        lines.append("".join(f"<td>{cell}</td>" for cell in (html.escape(name), *cells)))
    return f'<div class="s2-table"><table>{"".join(f"<tr>{cells}</tr>" for cells in lines)}</table></div>'


# ---------------------------------------------------------------- the app


class Policy:
    """Adds POLICY to every answer, in the middle of an ASGI app."""

    def __init__(self, app: Callable):
        self.app = app

    async def __call__(self, scope, receive, send):
        async def with_policy(message):
            if message["type"] == "http.response.start":
                headers = [(b"content-security-policy", POLICY.encode()), (b"referrer-policy", b"no-referrer")]
                message = {**message, "headers": [*message["headers"], *headers]}
            await send(message)

        await self.app(scope, receive, with_policy)


def serve(host: str, port: int):
    """Serves the page of the run in this folder on `host`:`port`; returns the Gradio app, which `close` ends.

    Raises InputError where Gradio, a model or a free port is missing.
    """
    os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1"}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydub misses an ffmpeg that nothing here calls
            import gradio as gr
    except ImportError as error:
        raise InputError(f"the page needs Gradio ({error}); install it: {INSTALL}") from None
    from starlette.middleware import Middleware

    app = build(Run(), Limit())
    try:
        app.launch(
            server_name=host,
            server_port=port,
            share=False,
            ssr_mode=False,
            enable_monitoring=False,
            max_file_size=MAX_BYTES,
            footer_links=[],
            show_error=False,
            quiet=True,
            css=STYLE,
            theme=gr.themes.Default(font=("system-ui", "sans-serif"), font_mono=("ui-monospace", "monospace")),
            app_kwargs={"middleware": [Middleware(Policy)]},
            prevent_thread_lock=True,
        )
    except OSError as error:
        raise InputError(f"--host {host}, --port {port}: {error}; give another one") from None
    return app


def build(run: Run, limit: Limit):
    """The app of a run: one tab each for drawing, walking, changing a word, and the scores."""
    import gradio as gr

    pipeline = run.pipeline
    rate = 0 if pipeline.reads_text else pipeline.sample_rate

    def on(event, function: Callable, inputs: list, outputs) -> None:
        """One call at a time, within the limit; what a visitor did wrong is told, and the page lives on."""

        def guarded(request: gr.Request, *values):
            try:
                limit.admit(request.client.host)
                return function(*values)
            except InputError as error:
                raise gr.Error(html.escape(str(error)), print_exception=False) from None

        event(guarded, inputs, outputs, concurrency_limit=1, concurrency_id="models", api_visibility="private")

    def utterance(label: str, text: str = "") -> tuple:
        """Where one says, uploads or types something; the last of these counts."""
        recording = gr.Audio(
            sources=["microphone", "upload"],
            type="filepath",
            label=f"{label}: record or upload, {MAX_SECONDS} s at most",
            visible=not pipeline.reads_text,
        )
        sentence = gr.Textbox(
            text if run.speaks else "",
            label=f"{label}: or type it, to be read aloud" if not pipeline.reads_text else label,
            max_length=MAX_CHARACTERS,
            visible=run.speaks,
        )
        gr.on([recording.stop_recording, recording.upload], None, None, sentence, js="() => ''")
        sentence.input(None, None, recording, js="() => null")
        return recording, sentence

    def voice_and_noise() -> tuple:
        with gr.Row():
            voices = pipeline.voices
            voice = gr.Dropdown(voices, value=voices[0] if voices else None, label="Voice", visible=bool(voices))
            seed = gr.Number(0, label="Noise: another number, another image", precision=0, minimum=0)
        return voice, seed

    def speak(recording, text, voice, seed):
        heard = run.hear(recording, text, voice)
        near = neighbours(*run.memory.nearest(heard.embedding)) if run.memory else ""
        return sound(heard, rate) + drawn(*run.variations(heard, seed), heard.name), near

    def walk(recording_a, text_a, recording_b, text_b, voice, seed):
        ends = [run.hear(recording_a, text_a, voice), run.hear(recording_b, text_b, voice)]
        images = run.walk(*ends, seed)
        steps = [
            picture(image, 128, f"{100 * i // (len(images) - 1)} % of the way", f"{i / (len(images) - 1):.2f}")
            for i, image in enumerate(images)
        ]
        return section(" → ".join(f"“{html.escape(end.name)}”" for end in ends), *steps)

    def change(text, part, colour, voice, seed):
        text = text or ""
        before, after, images = run.change(text, part or "", colour or "", voice, seed)
        cards = []
        for heard, image in zip((before, after), images, strict=True):
            played = "" if heard.samples is None else player(encode_flac(heard.samples, rate))
            cards.append(picture(image, 224, heard.name, f"{html.escape(heard.name)}<br>{played}"))
        return section(f"{part}: {read(text)[part]} → {colour}", *cards)

    def parts_of(text):
        parts = changeable(text or "")
        return gr.Radio(parts, value=parts[0] if parts else None)

    def another():
        rng = np.random.default_rng()
        while not changeable(text := describe(random_bird(rng), rng)):
            pass
        return text

    with gr.Blocks(title="S2IGAN: speech to image", analytics_enabled=False, delete_cache=(KEPT, KEPT)) as app:
        gr.Markdown("# Say it, see it\nA description, spoken, becomes an image. There is no text in between.")
        with gr.Tab("Draw"):
            with gr.Row():
                with gr.Column(scale=2, min_width=320):
                    recording, text = utterance("Describe it", FIRST if run.drawn_birds else "")
                    voice, seed = voice_and_noise()
                    button = gr.Button("Draw it", variant="primary")
                with gr.Column(scale=3, min_width=320):
                    result = gr.HTML()
            near = gr.HTML()
            on(button.click, speak, [recording, text, voice, seed], [result, near])
            on(text.submit, speak, [recording, text, voice, seed], [result, near])
            if run.memory is None:
                gr.Markdown("The nearest training captions and images are shown where `data/` is.")
        with gr.Tab("Walk"):
            gr.Markdown("Images on the line between two descriptions, all drawn with the same noise.")
            with gr.Row():
                with gr.Column(min_width=320):
                    start = utterance("From", FIRST if run.drawn_birds else "")
                with gr.Column(min_width=320):
                    end = utterance("To", SECOND if run.drawn_birds else "")
            voice, seed = voice_and_noise()
            button = gr.Button("Walk", variant="primary")
            on(button.click, walk, [*start, *end, voice, seed], gr.HTML())
        if run.drawn_birds:
            with gr.Tab("Change a word"):
                gr.Markdown(
                    "One colour word changes, the sentence is said anew and drawn with the same noise. "
                    "The part should change, and nothing else."
                )
                text = gr.Textbox(FIRST, label="Sentence", max_length=MAX_CHARACTERS)
                button = gr.Button("Another sentence", size="sm")
                part = gr.Radio(changeable(FIRST), value=changeable(FIRST)[0], label="Part")
                colour = gr.Radio(list(COLOURS), value="green", label="New colour")
                voice, seed = voice_and_noise()
                go = gr.Button("Change it", variant="primary")
                result = gr.HTML()
                button.click(another, None, text, api_visibility="private")
                text.change(parts_of, text, part, show_progress="hidden", api_visibility="private")
                for event in (go.click, part.input, colour.input):
                    on(event, change, [text, part, colour, voice, seed], result)
        with gr.Tab("Scores"):
            gr.Markdown(
                "Of the test split. *Untrained* is the network at its start, *shuffled* the trained one with images "
                "of other captions; *oracle* is the true renderer, told what the caption names, *real* are real images."
            )
            gr.HTML(score_table(scores()))
    return app.queue(max_size=WAITING)
