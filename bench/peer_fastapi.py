"""The same model behind the same API, as one writes it in Python: FastAPI, uvicorn and
onnxruntime.

    python bench/peer_fastapi.py MODEL.onnx PORT
"""

import sys

import numpy as np
import onnxruntime
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel


class Predict(BaseModel):
    instances: list[list[float]]


def application(model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    input_name = session.get_inputs()[0].name
    output_names = [output.name for output in session.get_outputs()]
    app = FastAPI()

    @app.post("/v1/models/digits:predict")
    async def predict(request: Predict):
        rows = np.array(request.instances, np.float32)
        outputs = [value.tolist() for value in session.run(output_names, {input_name: rows})]
        return {"predictions": [dict(zip(output_names, row)) for row in zip(*outputs)]}

    return app


if __name__ == "__main__":
    uvicorn.run(
        application(sys.argv[1]), host="127.0.0.1", port=int(sys.argv[2]),
        log_level="warning", access_log=False,
    )  # fmt: skip
