import os
import sys

# The backend's interpreter ignores PYTHONPATH.
sys.path[:0] = os.environ["PYTHONPATH"].split(os.pathsep)

import numpy as np  # noqa: E402
import triton_python_backend_utils as pb_utils  # noqa: E402
from tiny_model import Decoder  # noqa: E402


class TritonPythonModel:
    def initialize(self, args):
        self.decoder = Decoder(os.environ["UNLEARN_PEER_MODEL"])

    def execute(self, requests):
        responses = []
        for request in requests:
            # [batch, positions]
            ids = pb_utils.get_input_tensor_by_name(request, "input_ids").as_numpy()
            if ids.size and not 0 <= ids.min() <= ids.max() < self.decoder.config["vocab_size"]:
                responses.append(pb_utils.InferenceResponse(error=pb_utils.TritonError(
                    "input_ids: a token is outside the vocabulary",
                    pb_utils.TritonError.INVALID_ARG)))
                continue
            logits = np.stack([self.decoder.logits(row) for row in ids]).astype(np.float16)
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("logits", logits)]))
        return responses
