"""Convert a Keras network to the model formats of the benchmark, each as the guide of its library does it."""

import contextlib
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import onnx
import tensorflow as tf
import tf2onnx
from keras import layers
from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2
from tqdm import tqdm

from export.benchmark.model_formats import DYNAMIC_ONNX, FLOAT_LITERT, FLOAT_ONNX, INT8_LITERT, KERAS, STATIC_ONNX
from export.convert import OPSET
from export.quantize import Reader
from export.run_images import Source, pixels_of
from handler.contract import PIXEL_SCALE
from handler.files import write_atomically
from training.errors import RunError

BASELINE_SIZE = 128
NOISE_IMAGES = 8
"""Enough to calibrate a network with random weights."""

Array = npt.NDArray[np.float32]


class ModelFormats:
    """Writes one network in several model formats.

    Args:
        folder: where the files go.
        file: a Keras network, or None for the baseline network; see `export.benchmark.baseline_network.prepare`.
        size: width and height of its images, if the network does not fix them.
        images: they calibrate int8; if there are none, noise does.

    Raises:
        RunError: the file is no network of this kind, or the size of its images is unknown.
    """

    def __init__(self, folder: Path, file: Path | None, size: int | None, images: list[Source]) -> None:
        self._folder, self._images = folder, images
        self._model = _in_float32(_load(file)) if file else baseline_model()
        shape = self._model.input_shape
        answers = self._model.output_shape[1:]
        if len(shape) != 4 or shape[-1] not in (1, 3) or len(answers) != 1 or answers[0] < 2:
            raise RunError(
                f"{file} maps {shape} to {self._model.output_shape}: give a network from images "
                "[N, H, W, 1 or 3] to probabilities [N, 2 or more]"
            )
        self.channels: int = shape[-1]
        self.classes: int = answers[0]
        known: int | None = shape[1] or size
        if known is None:
            raise RunError(f"the size of the images that {file} takes is unknown: give --size")
        if size is not None and known != size:
            raise RunError(f"{file} takes images of {known} px: leave --size out")
        self.size = known

    def make(self, name: str) -> None:
        """Write one file, named as in `export.benchmark.model_formats`; after an error or interrupt there is none."""
        write: Callable[[Path], object] = {
            KERAS: self._model.save,
            FLOAT_ONNX: self._float_onnx,
            DYNAMIC_ONNX: self._dynamic_onnx,
            STATIC_ONNX: self._static_onnx,
            FLOAT_LITERT: self._float_litert,
            INT8_LITERT: self._int8_litert,
        }[name]
        write_atomically(self._folder / name, write)

    def _calibration(self, what: str) -> Iterator[Array]:
        """Images, float32 `[1, S, S, C]` in 0..255."""
        if self._images:
            grey = (pixels_of(source, self.size) for source in self._images)
            count = len(self._images)
        else:
            rng = np.random.default_rng(0)
            grey = (rng.integers(0, 256, (self.size, self.size), dtype=np.uint8) for _ in range(NOISE_IMAGES))
            count = NOISE_IMAGES
        for pixels in tqdm(grey, total=count, desc=f"calibrating {what}", unit="image", leave=False):
            yield np.repeat(pixels[np.newaxis, ..., np.newaxis].astype(np.float32), self.channels, axis=-1)

    def _function(self) -> Any:
        signature = [tf.TensorSpec([None, self.size, self.size, self.channels], tf.float32, name="pixels")]
        return tf.function(lambda x: self._model(x, training=False), input_signature=signature)

    def _float_onnx(self, path: Path) -> None:
        function = self._function()
        graph, _ = tf2onnx.convert.from_function(function, input_signature=function.input_signature, opset=OPSET)
        onnx.save(graph, path)

    def _dynamic_onnx(self, path: Path) -> None:
        # ONNX Runtime's integer convolution takes unsigned weights only.
        with self._preprocessed() as source:
            quantize_dynamic(source, path, weight_type=QuantType.QUInt8)

    def _static_onnx(self, path: Path) -> None:
        with self._preprocessed() as source:
            quantize_static(
                source,
                path,
                Reader(onnx.load(source).graph.input[0].name, self._calibration("ONNX")),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                reduce_range=True,  # the same answers on CPUs without VNNI, at the same speed
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )

    @contextlib.contextmanager
    def _preprocessed(self) -> Iterator[Path]:
        """The float graph, prepared for quantization as ONNX Runtime recommends."""
        if not (self._folder / FLOAT_ONNX).is_file():
            self.make(FLOAT_ONNX)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "preprocessed.onnx"
            quant_pre_process(self._folder / FLOAT_ONNX, path)
            yield path

    def _litert(self) -> Any:
        # If not frozen, the weights stay variables, and the file lacks them.
        frozen = convert_variables_to_constants_v2(self._function().get_concrete_function())
        return tf.lite.TFLiteConverter.from_concrete_functions([frozen])

    def _float_litert(self, path: Path) -> None:
        path.write_bytes(self._litert().convert())

    def _int8_litert(self, path: Path) -> None:
        converter = self._litert()
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image] for image in self._calibration("LiteRT"))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        with warnings.catch_warnings():
            # It warns that the inputs, which stay float, have no statistics.
            warnings.filterwarnings("ignore", message="Statistics for quantized inputs")
            path.write_bytes(converter.convert())


def baseline_model() -> keras.Model:
    """The baseline network with random weights: pixels `[N, 128, 128, 3]` in 0..255 to probabilities `[N, 2]`."""
    keras.utils.set_random_seed(0)
    pixels = keras.Input((BASELINE_SIZE, BASELINE_SIZE, 3), name="pixels")
    x = layers.Rescaling(PIXEL_SCALE)(pixels)
    x = keras.applications.VGG19(include_top=False, weights=None, input_shape=(BASELINE_SIZE, BASELINE_SIZE, 3))(x)
    x = layers.Flatten()(x)
    x = layers.Dense(512, activation="relu")(x)
    x = layers.Dropout(0.5)(x)
    x = layers.Dense(128, activation="relu")(x)
    return keras.Model(pixels, layers.Dense(2, activation="softmax")(x), name="baseline")


def _load(file: Path) -> keras.Model:
    try:
        return keras.models.load_model(file, compile=False)
    except Exception as exc:  # Keras raises many kinds
        raise RunError(f"{file} cannot be read as a Keras network: {exc}") from exc


def _in_float32(model: keras.Model) -> keras.Model:
    """The same network without mixed precision, which the converters do not support."""

    def plain(layer: keras.Layer) -> keras.Layer:
        return type(layer).from_config(layer.get_config() | {"dtype": "float32"})

    copy = keras.models.clone_model(model, clone_function=plain)
    copy.set_weights(model.get_weights())
    return copy
