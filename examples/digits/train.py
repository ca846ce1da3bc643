"""Trains the digits classifier that `make run` serves, and writes all that lies
beside this file: the model, its accuracy, and sample images with their requests.

    tools/setup train
    $(tools/setup --venv train)/bin/python examples/digits/train.py

Data: scikit-learn's handwritten digits (1,797 images of 8 x 8 pixels, values 0
to 16, part of the library, so nothing is downloaded). A quarter, stratified by
digit, is held out before anything else happens; it chooses nothing and trains
nothing. The seeds are fixed, and one thread computes: on one machine a second
run writes the same bytes.

The graph takes the pixels as they are, scales them itself and has two outputs,
so that a client needs to know nothing about the training.
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse
import json
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
# Chosen by cross-validation within the training part.
HIDDEN = 256
ALPHA = 0.1
SEED = 7


def shifted(images, labels):
    """Every image also moved by one pixel up, down, left and right: writing is never centred."""
    square = images.reshape(-1, 8, 8)
    moved = [square]
    for axis, step in ((1, 1), (1, -1), (2, 1), (2, -1)):
        copy = np.roll(square, step, axis=axis)
        edge = 0 if step == 1 else -1
        if axis == 1:
            copy[:, edge, :] = 0
        else:
            copy[:, :, edge] = 0
        moved.append(copy)
    return np.concatenate(moved).reshape(-1, 64), np.tile(labels, len(moved))


def to_onnx(network):
    """The network as a plain graph: image -> scale -> two layers -> probabilities, digit."""
    (w1, w2), (b1, b2) = network.coefs_, network.intercepts_
    weights = {"scale": np.float32(1 / 16), "w1": w1, "b1": b1, "w2": w2, "b2": b2}
    nodes = [
        helper.make_node("Mul", ["image", "scale"], ["scaled"]),
        helper.make_node("Gemm", ["scaled", "w1", "b1"], ["sum1"]),
        helper.make_node("Relu", ["sum1"], ["hidden"]),
        helper.make_node("Gemm", ["hidden", "w2", "b2"], ["sum2"]),
        helper.make_node("Softmax", ["sum2"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["probabilities"], ["digit"], axis=1, keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 64])],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 10]),
            helper.make_tensor_value_info("digit", TensorProto.INT64, ["batch"]),
        ],
        [numpy_helper.from_array(np.asarray(w, np.float32), name) for name, w in weights.items()],
    )
    # Old on purpose: ONNX Runtime 1.10 and newer load it.
    model = helper.make_model(
        graph, producer_name="weir", opset_imports=[helper.make_opsetid("", 13)], ir_version=8
    )
    model.doc_string = (
        "Handwritten digits, 8 x 8 pixels from 0 (white) to 16 (black), row by row. "
        "Trained by examples/digits/train.py on scikit-learn's data."
    )
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def png(pixels, zoom=12):
    """The bytes of a grey PNG, black on white, each pixel drawn as a square."""
    grey = (255 - pixels.reshape(8, 8) * 255 / 16).astype(np.uint8)
    grey = grey.repeat(zoom, axis=0).repeat(zoom, axis=1)
    side = 8 * zoom

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    rows = b"".join(b"\0" + row.tobytes() for row in grey)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(rows, 9))
        + chunk(b"IEND", b"")
    )


def write_samples(folder, images, labels):
    """The first image of each digit, as a picture and as the requests that carry it."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for digit, name in enumerate(NAMES):
        image = images[np.flatnonzero(labels == digit)[0]]
        rows.append([int(v) for v in image])
        (folder / f"{name}.png").write_bytes(png(image))
        (folder / f"{name}.json").write_text(json.dumps({"instances": [rows[-1]]}) + "\n")
    (folder / "all.json").write_text(json.dumps({"instances": rows}) + "\n")
    tensor = {"name": "image", "shape": [1, 64], "datatype": "FP32", "data": rows[7]}
    (folder / "seven-v2.json").write_text(json.dumps({"inputs": [tensor]}) + "\n")
    (folder / "labels.json").write_text(json.dumps(dict(zip(NAMES, range(10)))) + "\n")


def main():
    parser = argparse.ArgumentParser(description="Train and export the digits classifier.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="where to write")
    out = parser.parse_args().out

    digits = load_digits()
    images, held_images, labels, held_labels = train_test_split(
        digits.data, digits.target, test_size=0.25, random_state=SEED, stratify=digits.target
    )
    train_images, train_labels = shifted(images, labels)
    network = MLPClassifier((HIDDEN,), alpha=ALPHA, max_iter=60, tol=0, random_state=SEED)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it stops at max_iter, as it should
        network.fit(train_images / 16, train_labels)

    path = out / "model" / "digits" / "1" / "model.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(to_onnx(network))

    # The accuracy of what is shipped: the exported file, not the network in memory.
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    probabilities, answers = session.run(
        ["probabilities", "digit"], {"image": held_images.astype(np.float32)}
    )
    assert np.abs(probabilities - network.predict_proba(held_images / 16)).max() < 1e-5
    right = answers == held_labels
    report = {
        "trained_on": len(labels),
        "held_out": len(held_labels),
        "right": int(right.sum()),
        "accuracy": round(float(right.mean()), 4),
        "by_digit": {str(d): round(float(right[held_labels == d].mean()), 3) for d in range(10)},
    }
    (out / "accuracy.json").write_text(json.dumps(report, indent=2) + "\n")
    write_samples(out / "samples", held_images[right], held_labels[right])
    print(f"{path}: {path.stat().st_size:,} bytes")
    print(
        f"held out: {report['right']} of {report['held_out']} right"
        f" ({100 * report['accuracy']:.1f} %)"
    )


if __name__ == "__main__":
    main()
