"""TensorFlow Serving's REST API, as `requests` sees it."""

import base64
import json
import math

import numpy as np
import onnxruntime
import pytest

import running
import tfs_errors


@pytest.fixture(scope="module")
def session():
    """Runs a model of tests/fixtures/models by ONNX Runtime's own Python API."""
    sessions = {}

    def run(model, **inputs):
        if model not in sessions:
            path = str(running.MODELS / f"{model}.onnx")
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            sessions[model] = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
        outputs = [o.name for o in sessions[model].get_outputs()]
        return dict(zip(outputs, sessions[model].run(outputs, inputs), strict=True))

    return run


def same_bits(got, wanted):
    got = np.asarray(got, wanted.dtype)
    return got.shape == wanted.shape and got.tobytes() == wanted.tobytes()


def rows(shape, seed=1):
    return np.random.default_rng(seed).normal(scale=10, size=shape).astype(np.float32)


# ---- predictions ----


@pytest.mark.parametrize("count", [1, 2, 7])
def test_rows_are_answered_to_the_bit_as_the_engine_does(server, session, count):
    x = rows((count, 4))
    answer = server.predict("mlp", {"instances": x.tolist()})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json()) == ["predictions"]
    assert same_bits(answer.json()["predictions"], session("mlp", x=x)["y"])


def test_columns_are_answered_to_the_bit_as_the_engine_does(server, session):
    x = rows((3, 4))
    for body in ({"inputs": x.tolist()}, {"inputs": {"x": x.tolist()}}):
        answer = server.predict("mlp", body).json()
        assert list(answer) == ["outputs"]
        assert same_bits(answer["outputs"], session("mlp", x=x)["y"])


def test_several_inputs_and_outputs_go_by_name(server, session):
    a, b = rows((2, 3)), rows((2, 3), seed=2)
    wanted = session("two_in_two_out", a=a, b=b)
    body = {"inputs": {"b": b.tolist(), "a": a.tolist(), "unknown": [1]}}
    columns = server.predict("two_in_two_out", body).json()["outputs"]
    assert all(same_bits(columns[name], wanted[name]) for name in ("sum", "difference"))
    instances = [{"b": b[i].tolist(), "a": a[i].tolist()} for i in range(2)]
    answers = server.predict("two_in_two_out", {"instances": instances}).json()["predictions"]
    for i, answer in enumerate(answers):
        assert sorted(answer) == ["difference", "sum"]
        assert all(same_bits(answer[name], wanted[name][i]) for name in answer)


def test_a_large_batch_is_answered_to_the_bit(server, session):
    """Above 64 kB, bodies are decoded and answers encoded by workers."""
    x = rows((5000, 4))
    answer = server.predict("mlp", {"instances": x.tolist()})
    assert len(answer.request.body) > 300_000
    assert same_bits(answer.json()["predictions"], session("mlp", x=x)["y"])


def test_an_output_without_rows_is_given_by_columns_only(server):
    assert server.predict("nonzero", {"inputs": [0.0, 3.0, 4.0]}).json() == {"outputs": [[1, 2]]}


def test_a_body_in_chunks_is_read_too(server):
    def pieces():
        yield b'{"instances"'
        yield b": [1.0, 2.0]}"

    assert server.post("/v1/models/half_plus_two:predict", pieces()).json() == {
        "predictions": [2.5, 3.0]
    }


def test_the_text_of_an_answer_is_laid_out_as_upstream_does(server):
    assert server.predict("half_plus_two", {"instances": [1, 2.5]}).text == (
        '{\n    "predictions": [2.5, 3.25\n    ]\n}'
    )
    assert server.predict("half_plus_two", {"inputs": [2, 4]}).text == (
        '{\n    "outputs": [\n        3.0,\n        4.0\n    ]\n}'
    )


# ---- values ----

FLOATS = [0.1, -0.0, 1e-45, 3.4028235e38, 16777216.0, 9007199254740993.5, 1 / 3]


@pytest.mark.parametrize(
    "model, dtype", [("identity_fp32", np.float32), ("identity_fp64", np.float64)]
)
def test_floats_come_back_to_the_bit(server, model, dtype):
    x = np.array([FLOATS, FLOATS[::-1]], dtype).T
    assert same_bits(server.predict(model, {"inputs": x.tolist()}).json()["outputs"], x)


def test_nan_and_infinities_are_read_and_written(server):
    answer = server.predict("identity_fp32", '{"instances": [[NaN, Infinity], [-Infinity, -Inf]]}')
    assert answer.status_code == 200
    assert "NaN" in answer.text and "-Infinity" in answer.text
    values = np.array(json.loads(answer.text)["predictions"]).ravel()
    assert math.isnan(values[0]) and values[1:].tolist() == [math.inf, -math.inf, -math.inf]


INTEGERS = [
    (name, bits, name.startswith("int"))
    for name, bits in [
        (f"{kind}{bits}", bits) for kind in ("int", "uint") for bits in (8, 16, 32, 64)
    ]
]


@pytest.mark.parametrize("name, bits, signed", INTEGERS)
def test_integers_are_exact_over_their_range_and_refused_beyond_it(server, name, bits, signed):
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    body = {"instances": [[low, high], [high - 1, 1]]}
    assert server.predict(f"identity_{name}", body).json() == {"predictions": body["instances"]}
    for beyond in (low - 1, high + 1):
        answer = server.predict(f"identity_{name}", {"instances": [[beyond, 0]]})
        assert answer.status_code == 400
        assert f"Type: Number is not of expected type: {name}" in answer.json()["error"]


def test_integers_beyond_two_to_the_53_are_exact(server):
    odd = [[2**53 + 1, -(2**53) - 1], [2**63 - 1, -(2**63)]]
    assert server.predict("identity_int64", {"inputs": odd}).json()["outputs"] == odd


def test_strings_come_as_text_or_base64(server):
    texts = [["plain", "žluťoučký \U0001f600"], ["", 'quote " and \\ and \n']]
    assert server.predict("identity_string", {"instances": texts}).json()["predictions"] == texts
    coded = {"b64": base64.b64encode("kůň".encode()).decode()}
    answer = server.predict("identity_string", {"instances": [[coded, "b"]]})
    assert answer.json()["predictions"] == [["kůň", "b"]]


def test_booleans_and_halves_come_back(server):
    truth = [[True, False], [False, True]]
    assert server.predict("identity_bool", {"inputs": truth}).json()["outputs"] == truth
    for model in ("identity_fp16", "identity_bf16"):
        assert server.predict(model, {"inputs": [[1.5, -2]]}).json()["outputs"] == [[1.5, -2.0]]


def test_what_stands_behind_the_document_is_ignored(server):
    answer = server.predict("half_plus_two", '{"instances": [2]} and {so on')
    assert answer.json() == {"predictions": [3.0]}


def test_a_shape_that_the_model_does_not_take_is_refused(server):
    for body in (
        {"instances": [[1, 2, 3]]},
        {"inputs": [1, 2, 3, 4]},
        {"inputs": [[[1, 2, 3, 4]]]},
    ):
        answer = server.predict("mlp", body)
        assert answer.status_code == 400
        assert "x" in answer.json()["error"] and "4" in answer.json()["error"]
    assert server.predict("fixed_batch", {"instances": [[1, 2, 3]]}).status_code == 400


def test_a_failure_of_the_engine_is_told(server):
    answer = server.predict("pick", {"instances": [1, 77]})
    assert answer.status_code in (400, 500)
    assert "77" in answer.json()["error"]
    assert server.predict("pick", {"instances": [1]}).json() == {"predictions": [20.0]}


# ---- paths ----


def test_paths_are_read_in_any_case_and_names_decoded(server):
    body = {"instances": [2]}
    for path in (
        "/V1/Models/half_plus_two:PREDICT",
        "/v1/models/half%5Fplus%5ftwo:predict",
        "/v1/models/half_plus_two/versions/1:predict",
        "/v1/models/half_plus_two/VERSIONS/1:predict",
        "/v1/models/half_plus_two:predict?x=1",
    ):
        assert server.post(path, body).json() == {"predictions": [3.0]}, path
    assert server.post("/v1/models/HALF_plus_two:predict", body).status_code == 404


def test_status_tells_the_state_of_each_version(server):
    ok = {"error_code": "OK", "error_message": ""}
    available = {"version": "1", "state": "AVAILABLE", "status": ok}
    for path in ("/v1/models/mlp", "/v1/models/mlp/versions/1"):
        assert server.get(path).json() == {"model_version_status": [available]}
    (failed,) = server.get("/v1/models/corrupt").json()["model_version_status"]
    assert failed["state"] == "END" and failed["status"]["error_code"] != "OK"
    assert "corrupt.onnx" in failed["status"]["error_message"]


def test_metadata_tells_the_one_signature(server):
    for path in (
        "/v1/models/two_in_two_out/metadata",
        "/v1/models/two_in_two_out/versions/1/metadata",
    ):
        answer = server.get(path).json()
        assert answer["model_spec"] == {
            "name": "two_in_two_out",
            "signature_name": "",
            "version": "1",
        }
        signature = answer["metadata"]["signature_def"]["signature_def"]["serving_default"]
        assert sorted(signature["inputs"]) == ["a", "b"]
        assert sorted(signature["outputs"]) == ["difference", "sum"]
        assert signature["inputs"]["a"] == {
            "dtype": "DT_FLOAT",
            "tensor_shape": {
                "dim": [{"size": "-1", "name": ""}, {"size": "3", "name": ""}],
                "unknown_rank": False,
            },
            "name": "a",
        }
        assert signature["method_name"] == "tensorflow/serving/predict"


# ---- errors ----


@pytest.mark.parametrize("model, body, status, text", tfs_errors.PREDICT)
def test_a_bad_request_gets_upstreams_code_and_text(server, model, body, status, text):
    answer = server.predict(model, body)
    assert (answer.status_code, answer.json()) == (status, {"error": text})
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("method, path, status, text", tfs_errors.PATHS + tfs_errors.NOT_SERVED)
def test_a_bad_path_gets_upstreams_code_and_text(server, method, path, status, text):
    with server.connect() as raw:
        raw.request(method, path, b'{"instances": [1]}' if method == "POST" else b"")
        answer = raw.response()
    assert (answer.status, answer.json()) == (status, {"error": text})
