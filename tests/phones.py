"""Recordings as phones and browsers make them."""

from pathlib import Path

import av
import numpy as np


def record(path, codec: str, samples: np.ndarray, rate: int) -> None:
    """Codes samples (T,) or (channels, T), floats, into the container that the name asks for."""
    with av.open(str(path), "w", format={".m4a": "ipod", ".aac": "adts"}.get(Path(path).suffix)) as file:
        samples = np.atleast_2d(samples).astype(np.float32)
        layout = {1: "mono", 2: "stereo", 8: "7.1"}[len(samples)]
        stream = file.add_stream(codec, rate, layout=layout)
        resampler = av.AudioResampler(format=stream.codec_context.format, layout=layout, rate=rate)
        frame = av.AudioFrame.from_ndarray(samples.T.reshape(1, -1), format="flt", layout=layout)
        frame.sample_rate = rate
        fifo = av.AudioFifo()
        for part in resampler.resample(frame):
            fifo.write(part)
        while (part := fifo.read(stream.codec_context.frame_size or 960) or fifo.read()) is not None:
            file.mux(stream.encode(part))
        file.mux(stream.encode(None))
