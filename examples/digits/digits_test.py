"""The committed model answers its committed samples rightly, and stays plain and small."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

HERE = Path(__file__).parent
MODEL = HERE / "model" / "digits" / "1" / "model.onnx"
LABELS = json.loads((HERE / "samples" / "labels.json").read_text())


@pytest.fixture(scope="module")
def session():
    return onnxruntime.InferenceSession(str(MODEL), providers=["CPUExecutionProvider"])


def ask(session, rows):
    return session.run(["probabilities", "digit"], {"image": np.asarray(rows, np.float32)})


@pytest.mark.parametrize("name", LABELS)
def test_each_sample_is_recognised(session, name):
    rows = json.loads((HERE / "samples" / f"{name}.json").read_text())["instances"]
    probabilities, digit = ask(session, rows)
    assert digit.tolist() == [LABELS[name]]
    assert probabilities.shape == (1, 10)
    assert probabilities.sum() == pytest.approx(1, abs=1e-5)


def test_a_batch_answers_like_its_rows(session):
    rows = json.loads((HERE / "samples" / "all.json").read_text())["instances"]
    together, digits = ask(session, rows)
    assert digits.tolist() == list(LABELS.values())
    alone = np.concatenate([ask(session, [row])[0] for row in rows])
    assert np.abs(together - alone).max() < 1e-6


def test_both_protocols_samples_hold_the_same_image():
    v1 = json.loads((HERE / "samples" / "seven.json").read_text())["instances"][0]
    v2 = json.loads((HERE / "samples" / "seven-v2.json").read_text())["inputs"][0]
    assert v2 == {"name": "image", "shape": [1, 64], "datatype": "FP32", "data": v1}


def test_the_model_is_small_and_loads_in_old_runtimes():
    model = onnx.load(MODEL)
    onnx.checker.check_model(model, full_check=True)
    assert MODEL.stat().st_size < 300_000
    assert model.ir_version <= 8
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 13)]
    assert [i.name for i in model.graph.input] == ["image"]
    assert [o.name for o in model.graph.output] == ["probabilities", "digit"]


def test_the_readme_tells_the_measured_accuracy():
    report = json.loads((HERE / "accuracy.json").read_text())
    text = (HERE / "README.md").read_text()
    assert f"{report['right']} of {report['held_out']}" in text
    assert f"{100 * report['accuracy']:.1f} %" in text
