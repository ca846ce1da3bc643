"""What TensorFlow Serving answers to requests it refuses: status and text.

Facts from tensorflow/serving: util/json_tensor.cc (predict requests), model_servers/
http_rest_api_util.cc and http_rest_api_handler.cc (paths), core/server_core.cc and
get_model_status_impl.cc (which model). Each row of
PREDICT: model, body, status, text.
"""

# util/json_tensor.cc, util/json_tensor_test.cc
PREDICT = [
    (
        "half_plus_two",
        "",
        400,
        "JSON Parse error: The document is empty",
    ),
    (
        "half_plus_two",
        "[1]",
        400,
        "JSON Value: [\n    1\n] Is not object",
    ),
    (
        "half_plus_two",
        "{}",
        400,
        "Missing 'inputs' or 'instances' key",
    ),
    (
        "half_plus_two",
        '{"instances": [1',
        400,
        "JSON Parse error: Missing a comma or ']' after an array element. at offset: 16",
    ),
    (
        "half_plus_two",
        '{"instances": [1],}',
        400,
        "JSON Parse error: Missing a name for object member. at offset: 18",
    ),
    (
        "half_plus_two",
        '{"instances": [1], "inputs": [1]}',
        400,
        'JSON Value: {\n    "instances": [\n        1\n    ],\n    "inputs": [\n        1\n    '
        "]\n} Not formatted correctly expecting only one of 'inputs' or 'instances' keys to "
        "exist ",
    ),
    (
        "half_plus_two",
        '{"instances": 1}',
        400,
        "JSON Value: {\n    \"instances\": 1\n} Excepting 'instances' to be an list/array",
    ),
    (
        "half_plus_two",
        '{"instances": []}',
        400,
        "JSON Value: {\n    \"instances\": []\n} No values in 'instances' array",
    ),
    (
        "half_plus_two",
        '{"signature_name": 5, "instances": [1]}',
        400,
        'JSON Value: {\n    "signature_name": 5,\n    "instances": [\n        1\n    ]\n} not '
        "formatted correctly. 'signature_name' key must be a string value.",
    ),
    (
        "half_plus_two",
        '{"signature_name": "other", "instances": [1]}',
        400,
        'Serving signature name: "other" not found in signature def',
    ),
    (
        "half_plus_two",
        '{"instances": ["a"]}',
        400,
        "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: JSON "
        'Value: "a" Type: String is not of expected type: float',
    ),
    (
        "half_plus_two",
        '{"instances": [1, true]}',
        400,
        "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: JSON "
        "Value: true Type: True is not of expected type: float",
    ),
    (
        "half_plus_two",
        '{"instances": [null]}',
        400,
        "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: JSON "
        "Value: null Type: Null is not of expected type: float",
    ),
    (
        "half_plus_two",
        '{"instances": [16777217]}',
        400,
        "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: Cannot "
        "convert JSON value: 16777217 to float without loss of precision.",
    ),
    (
        "half_plus_two",
        '{"instances": [{"z": 1}]}',
        400,
        "Failed to process element: 0 key: z of 'instances' list. Error: INVALID_ARGUMENT: "
        "JSON object: does not have named input: z",
    ),
    (
        "half_plus_two",
        '{"instances": [1, {"x": 1}]}',
        400,
        "Expecting value/list but got object at item 1 of input list",
    ),
    (
        "half_plus_two",
        '{"instances": [{"x": 1}, 1]}',
        400,
        "Expecting object but got list at item 1 of input list",
    ),
    (
        "half_plus_two",
        '{"inputs": {"z": [1]}}',
        400,
        "Missing named input: x in 'inputs' object.",
    ),
    (
        "mlp",
        '{"instances": [[1, 2, 3, 4], [1, 2, 3]]}',
        400,
        "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting "
        "tensor size: 4 but got: 3",
    ),
    (
        "mlp",
        '{"instances": [[1, 2, 3, 4], [[1, 2], [3, 4]]]}',
        400,
        "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting "
        "shape [4] but got: [2,2]",
    ),
    (
        "mlp",
        '{"instances": [[1, 2, 3, [4]]]}',
        400,
        "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: "
        "Encountered list at unexpected level: 1 expected < 1",
    ),
    (
        "mlp",
        '{"inputs": [[1, 2, 3, 4], 5]}',
        400,
        "JSON Value: 5 found at incorrect level: 2 in the JSON DOM. Expected at level: 2",
    ),
    (
        "mlp",
        '{"inputs": [[1, 2, 3, 4], [5]]}',
        400,
        "Encountered list at unexpected size: 1 at level: 1 expected size: 4",
    ),
    (
        "two_in_two_out",
        '{"instances": [1]}',
        400,
        "instances is a plain list, but expecting list of objects as multiple input tensors "
        "required as per tensorinfo_map",
    ),
    (
        "two_in_two_out",
        '{"inputs": [1]}',
        400,
        "inputs is a plain value/list, but expecting an object as multiple input tensors "
        "required as per tensorinfo_map",
    ),
    (
        "two_in_two_out",
        '{"inputs": {"a": [[1, 2, 3]]}}',
        400,
        "Missing named input: b in 'inputs' object.",
    ),
    (
        "two_in_two_out",
        '{"instances": [{"a": [1, 2, 3]}]}',
        400,
        "Failed to process element: 0 of 'instances' list. JSON object: {\n    \"a\": "
        "[\n        1,\n        2,\n        3\n    ]\n} keys must be equal to: a,b",
    ),
    (
        "identity_int32",
        '{"inputs": [[1.5, 2]]}',
        400,
        "JSON Value: 1.5 Type: Number is not of expected type: int32",
    ),
    (
        "identity_int32",
        '{"inputs": [[2147483648, 2]]}',
        400,
        "JSON Value: 2147483648 Type: Number is not of expected type: int32",
    ),
    (
        "identity_int64",
        '{"inputs": [[9223372036854775808, 2]]}',
        400,
        "JSON Value: 9223372036854775808 Type: Number is not of expected type: int64",
    ),
    (
        "identity_uint64",
        '{"inputs": [[-1, 2]]}',
        400,
        "JSON Value: -1 Type: Number is not of expected type: uint64",
    ),
    (
        "identity_bool",
        '{"inputs": [[1, 0]]}',
        400,
        "JSON Value: 1 Type: Number is not of expected type: bool",
    ),
    (
        "identity_string",
        '{"inputs": [[{"b64": "?"}, ""]]}',
        400,
        "Unable to base64 decode",
    ),
    (
        "identity_string",
        '{"inputs": [[{"b64": 5}, ""]]}',
        400,
        'JSON Value: {\n    "b64": 5\n} not formatted correctly for base64 data',
    ),
    (
        "identity_fp64",
        '{"inputs": [[1e999, 2]]}',
        400,
        "JSON Parse error: Number too big to be stored in double. at offset: 13",
    ),
]

# model_servers/http_rest_api_util.cc, http_rest_api_handler.cc, core/server_core.cc. Each row:
# method, path, status, text.
PATHS = [
    (
        "GET",
        "/v1/models/nosuch",
        404,
        "Could not find any versions of model nosuch",
    ),
    (
        "GET",
        "/v1/models/half_plus_two/versions/7",
        404,
        "Could not find version 7 of model half_plus_two",
    ),
    (
        "GET",
        "/v1/models/nosuch/metadata",
        404,
        "Servable not found for request: Latest(nosuch)",
    ),
    (
        "POST",
        "/v1/models/nosuch:predict",
        404,
        "Servable not found for request: Latest(nosuch)",
    ),
    (
        "POST",
        "/v1/models/half_plus_two/versions/7:predict",
        404,
        "Servable not found for request: Specific(half_plus_two, 7)",
    ),
    (
        "POST",
        "/v1/models/half_plus_two/labels/stable:predict",
        400,
        "Unrecognized servable version label: stable",
    ),
    (
        "GET",
        "/v1/models",
        400,
        "Missing model name in request.",
    ),
    (
        "GET",
        "/v1/models/half_plus_two/versions/99999999999999999999",
        400,
        "Failed to convert version: 99999999999999999999 to numeric.",
    ),
    (
        "GET",
        "/v1/models/half_plus_two/versions/x",
        400,
        "Malformed request: GET /v1/models/half_plus_two/versions/x",
    ),
    (
        "POST",
        "/v1/models/half_plus_two:train",
        400,
        "Malformed request: POST /v1/models/half_plus_two:train",
    ),
    (
        "POST",
        "/v1/models/half_plus_two",
        400,
        "Malformed request: POST /v1/models/half_plus_two",
    ),
    (
        "GET",
        "/v1/models/half_plus_two:predict",
        400,
        "Malformed request: GET /v1/models/half_plus_two:predict",
    ),
    (
        "DELETE",
        "/v1/models/half_plus_two",
        400,
        "Malformed request: DELETE /v1/models/half_plus_two",
    ),
    (
        "GET",
        "/v1/",
        400,
        "Malformed request: GET /v1/",
    ),
]

# Upstream has these calls: the status is the one for what is not implemented.
NOT_SERVED = [
    (
        "POST",
        "/v1/models/half_plus_two:classify",
        501,
        "classify and regress are not served; use predict",
    ),
    (
        "POST",
        "/v1/models/half_plus_two:regress",
        501,
        "classify and regress are not served; use predict",
    ),
]
