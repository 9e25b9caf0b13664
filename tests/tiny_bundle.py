"""A real bundle of a few hundred bytes. It scores an image by its mean brightness, in microseconds, and accepts every
image. It is for tests that do not depend on the network."""

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from export.about import about
from handler.contract import CARD_FILE, CONTRACT_FILE, MODEL_FILE, Contract

SIZE = 64
LABELS = ("NORMAL", "PNEUMONIA")


def write_tiny_bundle(folder: Path, labels: tuple[str, ...] = LABELS) -> Path:
    """Make the folder with its three files. The first label is the most probable one of dark images."""
    contract = Contract(
        name="tiny",
        version="0.0.1",
        sha256="",
        input_size=SIZE,
        labels=labels,
        threshold=0.5 if len(labels) == 2 else None,
        set_thresholds=(0.8 / len(labels),) * len(labels),
        set_coverage=0.98,
        temperature=1.0,
        ood_threshold=1e6,
        unlike_threshold=1e6,
        orientations=("upright", "mirrored"),
        least_upright=0.01,
        most_photographed=1.0,
        about=about(labels),
    )
    constants = {
        "scale": np.float32(contract.pixel_scale),
        "space": np.array([2, 3]),
        "channel": np.array([1]),
        "one": np.float32(1),
        "signs": np.linspace(-1, 1, len(labels), dtype=np.float32)[np.newaxis],
    }
    nodes = [
        helper.make_node("Cast", [contract.input_name], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "scale"], ["grey"]),
        helper.make_node("ReduceMean", ["grey", "space"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "signs"], ["logits"]),
        helper.make_node("Softmax", ["logits"], [contract.output_name], axis=1),
        helper.make_node("Squeeze", ["mean", "channel"], [contract.distance_name]),
        helper.make_node("Identity", [contract.distance_name], [contract.unlike_name]),
        helper.make_node("Sub", ["one", "mean"], ["rest"]),
        helper.make_node("Concat", ["mean", "rest"], [contract.orientation_name], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(contract.input_name, TensorProto.UINT8, ["N", 1, SIZE, SIZE])],
        [
            helper.make_tensor_value_info(contract.output_name, TensorProto.FLOAT, ["N", len(labels)]),
            helper.make_tensor_value_info(contract.distance_name, TensorProto.FLOAT, ["N"]),
            helper.make_tensor_value_info(contract.unlike_name, TensorProto.FLOAT, ["N"]),
            helper.make_tensor_value_info(contract.orientation_name, TensorProto.FLOAT, ["N", 2]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    weights = model.SerializeToString()
    folder.mkdir(parents=True)
    (folder / MODEL_FILE).write_bytes(weights)
    contract = dataclasses.replace(contract, sha256=hashlib.sha256(weights).hexdigest())
    (folder / CONTRACT_FILE).write_text(contract.to_json(), encoding="utf-8")
    (folder / CARD_FILE).write_text("# Tiny\n", encoding="utf-8")
    return folder
