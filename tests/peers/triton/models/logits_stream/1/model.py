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
        for request in requests:
            sender = request.get_response_sender()
            cache = []
            for token in pb_utils.get_input_tensor_by_name(request, "input_ids").as_numpy():
                if request.is_cancelled():
                    break
                logits = self.decoder.logits([token], cache)[0].astype(np.float16)
                sender.send(pb_utils.InferenceResponse([pb_utils.Tensor("logits", logits)]))
            sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
        return None
