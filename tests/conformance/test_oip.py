"""The Open Inference Protocol v2 over REST: by hand, and by Triton's own client."""

import json

import numpy as np
import pytest
import tritonclient.http
from tritonclient.utils import InferenceServerException

import running

VERSION = running.run_weir("--version").stdout.split()[1]


def tensor(name, datatype, shape, data):
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


def output(answer, name=None):
    assert answer.status_code == 200, answer.text
    found = answer.json()["outputs"]
    return found[0] if name is None else next(o for o in found if o["name"] == name)


# ---- server and models ----


def test_the_server_tells_its_name_and_version(server):
    for path in ("/v2", "/v2/"):
        assert server.get(path).json() == {"name": "weir", "version": VERSION, "extensions": []}


def test_health_answers_by_its_status_alone(server):
    for path in (
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/mlp/ready",
        "/v2/models/mlp/versions/1/ready",
    ):
        answer = server.get(path)
        assert (answer.status_code, answer.content) == (200, b""), path
    for path in (
        "/v2/models/nosuch/ready",
        "/v2/models/corrupt/ready",
        "/v2/models/mlp/versions/2/ready",
    ):
        answer = server.get(path)
        assert 400 <= answer.status_code < 500 and answer.content == b"", path


def test_metadata_tells_names_types_and_shapes(server):
    wanted = {
        "name": "two_in_two_out",
        "versions": ["1"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": n, "datatype": "FP32", "shape": [-1, 3]} for n in ("a", "b")],
        "outputs": [
            {"name": n, "datatype": "FP32", "shape": [-1, 3]} for n in ("sum", "difference")
        ],
    }
    for path in ("/v2/models/two_in_two_out", "/v2/models/two_in_two_out/versions/1"):
        assert server.get(path).json() == wanted


# ---- inference ----


def test_data_may_be_nested_or_flat_and_stand_anywhere(server):
    nested, flat = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    for data in (nested, flat):
        first = {"data": data, "name": "a", "shape": [2, 3], "datatype": "FP32"}
        body = {"inputs": [tensor("b", "FP32", [2, 3], data), first]}
        answer = server.infer("two_in_two_out", body)
        assert output(answer, "sum") == tensor("sum", "FP32", [2, 3], [2 * v for v in flat])
        assert output(answer, "difference")["data"] == [0.0] * 6


def test_the_answer_names_model_version_and_id(server):
    body = {"inputs": [tensor("x", "FP32", [2], [2, 4])]}
    plain = server.infer("half_plus_two", body).json()
    assert plain == {
        "model_name": "half_plus_two",
        "model_version": "1",
        "outputs": [tensor("y", "FP32", [2], [3.0, 4.0])],
    }
    answer = server.post(
        "/v2/models/half_plus_two/versions/1/infer", {"id": "žluť \U0001f600", **body}
    )
    assert answer.json() == {**plain, "id": "žluť \U0001f600"}


def test_outputs_are_those_that_were_asked_for(server):
    inputs = [tensor(n, "FP32", [1, 3], [1, 2, 3]) for n in ("a", "b")]
    for wanted in (["sum"], ["difference"], ["difference", "sum"]):
        body = {"inputs": inputs, "outputs": [{"name": n} for n in wanted]}
        found = server.infer("two_in_two_out", body).json()["outputs"]
        assert sorted(o["name"] for o in found) == sorted(wanted)


VALUES = {
    "bool": ("BOOL", [True, False, False, True]),
    "uint8": ("UINT8", [0, 255, 1, 2]),
    "uint16": ("UINT16", [0, 65535, 1, 2]),
    "uint32": ("UINT32", [0, 2**32 - 1, 1, 2]),
    "uint64": ("UINT64", [0, 2**64 - 1, 2**53 + 1, 2]),
    "int8": ("INT8", [-128, 127, 0, -1]),
    "int16": ("INT16", [-32768, 32767, 0, -1]),
    "int32": ("INT32", [-(2**31), 2**31 - 1, 0, -1]),
    "int64": ("INT64", [-(2**63), 2**63 - 1, 2**53 + 1, -1]),
    "fp16": ("FP16", [1.5, -65504.0, 5.9604645e-8, 0.0]),
    "bf16": ("BF16", [1.5, -2.0, 256.0, 0.0]),
    "fp32": ("FP32", [0.1, 3.4028235e38, 1e-45, 16777216.0]),
    "fp64": ("FP64", [0.1, 1.7976931348623157e308, 5e-324, 1 / 3]),
    "string": ("BYTES", ["", "kůň", 'quote " \\ \n', "\U0001f600"]),
}


@pytest.mark.parametrize("name", VALUES)
def test_every_datatype_comes_back_as_it_went(server, name):
    datatype, values = VALUES[name]
    answer = server.infer(f"identity_{name}", {"inputs": [tensor("x", datatype, [2, 2], values)]})
    got = output(answer)
    assert (got["datatype"], got["shape"]) == (datatype, [2, 2])
    if datatype in ("FP16", "FP32"):
        dtype = {"FP16": np.float16, "FP32": np.float32}[datatype]
        assert np.array(got["data"], dtype).tobytes() == np.array(values, dtype).tobytes()
    else:
        assert got["data"] == values


def test_an_empty_batch_or_no_id_are_no_trouble(server):
    answer = server.infer("half_plus_two", {"id": "", "inputs": [tensor("x", "FP32", [1], [0])]})
    assert output(answer)["data"] == [2.0]


# ---- errors: each names what was expected and what came ----

X = tensor("x", "FP32", [2], [1, 2])
BAD = [
    ("half_plus_two", "", []),
    ("half_plus_two", "{", []),
    ("half_plus_two", "[]", []),
    ("half_plus_two", "{}", ["x"]),
    ("half_plus_two", {"inputs": []}, ["x"]),
    ("half_plus_two", {"inputs": {}}, ["inputs"]),
    ("half_plus_two", {"inputs": [{**X, "name": "z"}]}, ["z"]),
    ("half_plus_two", {"inputs": [X, X]}, ["x"]),
    ("half_plus_two", {"inputs": [{**X, "datatype": "INT64"}]}, ["x", "FP32", "INT64"]),
    ("half_plus_two", {"inputs": [{**X, "datatype": "FLOAT"}]}, ["FLOAT"]),
    ("half_plus_two", {"inputs": [{**X, "shape": [3]}]}, ["x", "3", "2"]),
    ("half_plus_two", {"inputs": [{**X, "shape": [-2]}]}, ["x"]),
    ("half_plus_two", {"inputs": [{**X, "shape": [1, 2]}]}, ["x"]),
    ("half_plus_two", {"inputs": [{**X, "shape": "2"}]}, ["shape"]),
    ("half_plus_two", {"inputs": [{**X, "data": ["a", "b"]}]}, ["x"]),
    ("half_plus_two", {"inputs": [{**X, "data": [[1], [2, 3]]}]}, ["x"]),
    ("half_plus_two", {"inputs": [{k: v for k, v in X.items() if k != "data"}]}, ["data"]),
    ("half_plus_two", {"inputs": [{k: v for k, v in X.items() if k != "shape"}]}, ["shape"]),
    ("half_plus_two", {"inputs": [X], "outputs": [{"name": "z"}]}, ["z"]),
    ("half_plus_two", '{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[NaN]}]}', []),
    (
        "half_plus_two",
        '{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[1e99]}]}',
        ["x"],
    ),
    ("half_plus_two", json.dumps({"inputs": [X]}) + "x", []),
    ("two_in_two_out", {"inputs": [tensor("a", "FP32", [1, 3], [1, 2, 3])]}, ["b"]),
    ("mlp", {"inputs": [tensor("x", "FP32", [1, 3], [1, 2, 3])]}, ["x", "4", "3"]),
    ("identity_int32", {"inputs": [tensor("x", "INT32", [1, 2], [2**31, 0])]}, ["x", "2147483648"]),
    ("identity_uint8", {"inputs": [tensor("x", "UINT8", [1, 2], [-1, 0])]}, ["x", "-1"]),
    ("identity_int64", {"inputs": [tensor("x", "INT64", [1, 2], [1.5, 0])]}, ["x", "1.5"]),
    ("identity_bool", {"inputs": [tensor("x", "BOOL", [1, 2], [1, 0])]}, ["x"]),
]


@pytest.mark.parametrize("model, body, words", BAD)
def test_a_bad_request_is_refused_with_its_reason(server, model, body, words):
    answer = server.infer(model, body)
    assert answer.status_code == 400, answer.text
    assert list(answer.json()) == ["error"]
    assert all(word in answer.json()["error"] for word in words), answer.text


def test_unknown_models_and_calls_are_not_found(server):
    body = {"inputs": [X]}
    for path, words in (
        ("/v2/models/nosuch/infer", ["nosuch"]),
        ("/v2/models/half_plus_two/versions/9/infer", ["half_plus_two", "9"]),
    ):
        answer = server.post(path, body)
        assert answer.status_code == 404 and all(w in answer.json()["error"] for w in words)
    for path in (
        "/v2/nosuch",
        "/v2/models/mlp/nosuch",
        "/v2/models/mlp/versions/x",
        "/v2/models/mlp/versions",
    ):
        assert server.get(path).status_code == 404, path
    assert server.get("/v2/models/nosuch").status_code == 404


def test_a_model_that_could_not_be_loaded_says_why(server):
    for answer in (server.get("/v2/models/corrupt"), server.infer("corrupt", {"inputs": [X]})):
        assert answer.status_code == 503
        assert "corrupt.onnx" in answer.json()["error"]


def test_a_wrong_method_is_told_the_right_one(server):
    answer = server.get("/v2/models/mlp/infer")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    answer = server.post("/v2/models/mlp", {})
    assert answer.status_code == 405 and "GET" in answer.headers["allow"]


def test_an_answer_that_json_has_no_number_for_is_refused(server):
    body = {"inputs": [tensor("x", "FP32", [1], [3e38])]}
    assert output(server.infer("half_plus_two", body))["data"] == [np.float32(1.5e38)]
    infinite = {"inputs": [tensor(n, "FP32", [1, 3], [3e38] * 3) for n in ("a", "b")]}
    answer = server.infer("two_in_two_out", infinite)
    assert answer.status_code == 501 and "sum" in answer.json()["error"]


# ---- Triton's client ----


@pytest.fixture
def triton(server):
    client = tritonclient.http.InferenceServerClient(server.authority)
    yield client
    client.close()


def triton_input(name, array, datatype):
    made = tritonclient.http.InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array, binary_data=False)
    return made


def test_tritons_client_reads_health_and_metadata(triton):
    assert triton.is_server_live() and triton.is_server_ready()
    assert triton.is_model_ready("mlp") and triton.is_model_ready("mlp", "1")
    assert not triton.is_model_ready("nosuch")
    assert triton.get_server_metadata()["name"] == "weir"
    assert triton.get_model_metadata("mlp")["inputs"] == [
        {"name": "x", "datatype": "FP32", "shape": [-1, 4]}
    ]


def test_tritons_client_infers_with_json(triton):
    a = np.array([[1, 2, 3]], np.float32)
    wanted = [
        tritonclient.http.InferRequestedOutput(n, binary_data=False) for n in ("sum", "difference")
    ]
    inputs = [triton_input(n, a, "FP32") for n in ("a", "b")]
    result = triton.infer("two_in_two_out", inputs, outputs=wanted, request_id="7")
    assert result.get_response()["id"] == "7"
    assert result.as_numpy("sum").tolist() == [[2, 4, 6]]
    assert result.as_numpy("difference").tolist() == [[0, 0, 0]]


@pytest.mark.parametrize(
    "name, dtype",
    [
        ("int64", np.int64),
        ("uint8", np.uint8),
        ("bool", np.bool_),
        ("fp64", np.float64),
        ("fp32", np.float32),
    ],
)
def test_tritons_client_gets_each_type_back(triton, name, dtype):
    array = np.array([[0, 1], [1, 0]], dtype)
    wanted = [tritonclient.http.InferRequestedOutput("y", binary_data=False)]
    inputs = [triton_input("x", array, VALUES[name][0])]
    got = triton.infer(f"identity_{name}", inputs, outputs=wanted).as_numpy("y")
    assert got.dtype == dtype and got.tolist() == array.tolist()


def test_tritons_client_gets_strings_back(triton):
    array = np.array([["plain", "kůň"]], np.object_)
    wanted = [tritonclient.http.InferRequestedOutput("y", binary_data=False)]
    got = triton.infer("identity_string", [triton_input("x", array, "BYTES")], outputs=wanted)
    assert got.as_numpy("y").tolist() == [["plain", "kůň"]]


def test_tritons_client_is_told_what_was_wrong(triton):
    bad = triton_input("x", np.zeros((1, 3), np.float32), "FP32")
    with pytest.raises(InferenceServerException) as caught:
        triton.infer("mlp", [bad])
    assert "x" in caught.value.message() and "4" in caught.value.message()
