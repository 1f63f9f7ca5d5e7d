"""What our client for the Open Inference Protocol counts on, asked of Triton itself."""
import os
import pathlib
import sys
import tempfile
import time
import unittest

import grpc
import numpy as np
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import servers  # noqa: E402
import tiny_model  # noqa: E402

IDS = [84, 441, 32, 99, 312, 32, 115, 312, 32]
HALF = 4e-3  # rounding a logit below 16 to fp16 moves it by at most 2^-8


def request(model, ids, shape=None, **parameters):
    message = pb.ModelInferRequest(model_name=model)
    tensor = message.inputs.add(name="input_ids", datatype="INT64")
    tensor.shape.extend([1, len(ids)] if shape is None else shape)
    message.raw_input_contents.append(np.asarray(ids, "<i8").tobytes())
    for name, value in parameters.items():
        kind = {bool: "bool_param", int: "int64_param", str: "string_param"}[type(value)]
        setattr(message.parameters[name], kind, value)
    return message


def logits(response):
    return np.frombuffer(response.raw_output_contents[0], "<f2").reshape(
        list(response.outputs[0].shape)).astype(np.float32)


class TritonTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        tiny_model.write_folder(cls.folder.name)
        cls.decoder = tiny_model.Decoder(cls.folder.name)
        cls.server = servers.triton(os.environ["PEER_HOME"], cls.folder.name)
        cls.addClassCleanup(cls.server.stop)
        channel = grpc.insecure_channel(cls.server.address)
        cls.addClassCleanup(channel.close)
        cls.stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)

    def infer(self, *arguments, **parameters):
        return self.stub.ModelInfer(request(*arguments, **parameters), timeout=60)

    def assert_refused(self, code, text, *arguments, **parameters):
        with self.assertRaises(grpc.RpcError) as caught:
            self.infer(*arguments, **parameters)
        self.assertEqual(caught.exception.code(), code)
        self.assertIn(text, caught.exception.details())

    def test_metadata_counts_the_batch_as_a_dimension(self):
        metadata = self.stub.ModelMetadata(pb.ModelMetadataRequest(name="logits"))
        self.assertEqual([(t.name, t.datatype, list(t.shape)) for t in metadata.inputs],
                         [("input_ids", "INT64", [-1, -1])])
        self.assertEqual([(t.name, t.datatype, list(t.shape)) for t in metadata.outputs],
                         [("logits", "FP16", [-1, -1, -1])])
        config = self.stub.ModelConfig(pb.ModelConfigRequest(name="logits_stream")).config
        self.assertTrue(config.model_transaction_policy.decoupled)

    def test_an_unknown_model_is_not_ready_but_no_error(self):
        ready = self.stub.ModelReady(pb.ModelReadyRequest(name="logits"))
        self.assertTrue(ready.ready)
        self.assertFalse(self.stub.ModelReady(pb.ModelReadyRequest(name="nobody")).ready)
        self.assert_refused(grpc.StatusCode.NOT_FOUND, "nobody", "nobody", IDS)

    def test_unary_logits(self):
        expected = self.decoder.logits(IDS)
        first = logits(self.infer("logits", IDS))
        np.testing.assert_allclose(first[0], expected, atol=HALF)
        np.testing.assert_array_equal(first, logits(self.infer("logits", IDS)))
        pair = logits(self.infer("logits", IDS + IDS[::-1], [2, len(IDS)]))
        np.testing.assert_array_equal(pair[0], first[0])
        np.testing.assert_allclose(pair[1], self.decoder.logits(IDS[::-1]), atol=HALF)

    def test_what_does_not_fit_is_an_invalid_argument(self):
        invalid = grpc.StatusCode.INVALID_ARGUMENT
        self.assert_refused(invalid, "Expected 80, got 72", "logits", IDS, [1, 10])
        self.assert_refused(invalid, "batch-size must be <= 8", "logits", IDS, [9, 1])
        self.assert_refused(invalid, "outside the vocabulary", "logits", [100000])
        self.assert_refused(grpc.StatusCode.UNIMPLEMENTED, "decoupled", "logits_stream", IDS,
                            [len(IDS)])

    def test_sequence(self):
        steps = [logits(self.infer("logits_sequence", IDS[:4], sequence_id=7, sequence_start=True)),
                 logits(self.infer("logits_sequence", IDS[4:6], sequence_id=7)),
                 logits(self.infer("logits_sequence", IDS[6:], sequence_id=7, sequence_end=True))]
        np.testing.assert_allclose(np.concatenate(steps, axis=1)[0], self.decoder.logits(IDS),
                                   atol=HALF)
        # A new start forgets what an unfinished sequence of the same id held.
        self.infer("logits_sequence", IDS[:4], sequence_id=8, sequence_start=True)
        again = self.infer("logits_sequence", IDS, sequence_id=8, sequence_start=True,
                           sequence_end=True)
        np.testing.assert_allclose(logits(again)[0], self.decoder.logits(IDS), atol=HALF)

    def test_a_sequence_that_is_not_known_must_start(self):
        start = "must specify the START flag"
        invalid = grpc.StatusCode.INVALID_ARGUMENT
        self.assert_refused(invalid, start, "logits_sequence", IDS, sequence_id=99)
        self.assert_refused(invalid, "correlation ID", "logits_sequence", IDS, sequence_start=True)
        self.assert_refused(invalid, "correlation ID", "logits_sequence", IDS, sequence_id=0,
                            sequence_start=True)
        # Idle for longer than the model's limit, it is one that is not known.
        self.infer("logits_sequence", IDS, sequence_id=9, sequence_start=True)
        config = self.stub.ModelConfig(pb.ModelConfigRequest(name="logits_sequence")).config
        limit = config.sequence_batching.max_sequence_idle_microseconds / 1e6
        deadline = time.monotonic() + 20 * limit
        pause = 2 * limit
        while True:  # each question that is answered makes it young again: ask ever more rarely
            time.sleep(pause)
            try:
                self.infer("logits_sequence", IDS[:1], sequence_id=9)
            except grpc.RpcError as error:
                self.assertEqual(error.code(), invalid)
                self.assertIn(start, error.details())
                break
            self.assertLess(time.monotonic(), deadline, "it never became idle")
            pause *= 2

    def test_sequences_beyond_the_limit_wait_until_one_ends(self):
        config = self.stub.ModelConfig(pb.ModelConfigRequest(name="logits_sequence")).config
        slots = config.sequence_batching.oldest.max_candidate_sequences
        for i in range(slots):
            self.infer("logits_sequence", IDS, sequence_id=100 + i, sequence_start=True)
        one_more = request("logits_sequence", IDS, sequence_id=200, sequence_start=True,
                           sequence_end=True)
        with self.assertRaises(grpc.RpcError) as caught:
            self.stub.ModelInfer(one_more, timeout=1)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
        self.infer("logits_sequence", IDS[:1], sequence_id=100, sequence_end=True)
        got = self.stub.ModelInfer(one_more, timeout=60)
        np.testing.assert_allclose(logits(got)[0], self.decoder.logits(IDS), atol=HALF)
        for i in range(1, slots):
            self.infer("logits_sequence", IDS[:1], sequence_id=100 + i, sequence_start=True,
                       sequence_end=True)

    def stream(self, *requests):
        return list(self.stub.ModelStreamInfer(iter(requests), timeout=60))

    def test_stream(self):
        expected = self.decoder.logits(IDS)
        asked = request("logits_stream", IDS, [len(IDS)])
        got = self.stream(asked)
        self.assertEqual(len(got), len(IDS))
        np.testing.assert_allclose([logits(one.infer_response) for one in got], expected, atol=HALF)
        # That nothing more comes is said only where that was asked for.
        final = [one.infer_response.parameters["triton_final_response"].bool_param for one in got]
        self.assertFalse(any(final))
        asked.parameters["triton_enable_empty_final_response"].bool_param = True
        last = self.stream(asked)[-1].infer_response
        self.assertTrue(last.parameters["triton_final_response"].bool_param)
        self.assertEqual(len(last.outputs), 0)

    def test_an_error_in_a_stream_does_not_end_it(self):
        bad = request("logits", IDS, [9, 1])
        bad.id = "bad"
        good = request("logits", IDS)
        good.id = "good"
        first, second = self.stream(bad, good)
        self.assertIn("batch-size", first.error_message)
        self.assertEqual(first.infer_response.id, "bad")
        self.assertEqual((second.error_message, second.infer_response.id), ("", "good"))

    def test_answers_beyond_4_mb_need_a_larger_limit(self):
        asked = request("logits", [1] * 4096, [8, 512])  # 8 MB of logits
        with self.assertRaises(grpc.RpcError) as caught:
            self.stub.ModelInfer(asked, timeout=120)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
        with grpc.insecure_channel(self.server.address, options=[
                ("grpc.max_receive_message_length", -1)]) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            self.assertEqual(logits(stub.ModelInfer(asked, timeout=120)).shape, (8, 512, 1000))

    def test_speed(self):
        def median_ms(ask):
            times = []
            for _ in range(100):
                start = time.perf_counter()
                ask()
                times.append(time.perf_counter() - start)
            return sorted(times)[50] * 1e3

        self.infer("logits_sequence", IDS, sequence_id=300, sequence_start=True)
        unary = median_ms(lambda: self.infer("logits", IDS[:1]))
        step = median_ms(lambda: self.infer("logits_sequence", IDS[:1], sequence_id=300))
        print(f"triton: one token of the tiny model, 1,000 fp16 logits: unary {unary:.1f} ms, "
              f"step of a sequence {step:.1f} ms (medians)", flush=True)
        self.infer("logits_sequence", IDS[:1], sequence_id=300, sequence_end=True)


if __name__ == "__main__":
    unittest.main()
