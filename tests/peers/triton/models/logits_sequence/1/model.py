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
        self.caches = {}  # sequence id -> the decoder's cache

    def execute(self, requests):
        return [self.step(request) for request in requests]

    def step(self, request):
        def value(name):
            return pb_utils.get_input_tensor_by_name(request, name).as_numpy()

        sequence = int(value("CORRID").flat[0])
        if value("START").flat[0]:
            self.caches[sequence] = []
        logits = self.decoder.logits(value("input_ids")[0], self.caches[sequence])
        if value("END").flat[0]:
            del self.caches[sequence]
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor("logits", logits[None].astype(np.float16))])
