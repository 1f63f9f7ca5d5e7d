#include "offset/cuda/cuda_checks.h"

#include <cstring>
#include <string>

#include "gtest/gtest.h"
#include "offset/cuda/cuda_backend_loader.h"
#include "offset/cuda/cuda_bench.h"
#include "offset/cuda/cuda_device_runtime.h"
#include "offset/cuda/device_test_runtime.h"
#include "offset/model/decoder_vectors.h"

namespace unlearn {
namespace {

std::string& WhyNoGpu() {
  static std::string* const why = new std::string;
  return *why;
}

// The way of the servers: the back end opened at run time. Here it runs beside the checks' own.
TEST(CudaBackendTest, OpensAndRuns) {
  if (!WhyNoGpu().empty()) GTEST_SKIP() << WhyNoGpu();
  const DecoderVectors vectors("grouped_new");
  const auto flag = ParseDeviceFlag("cuda:0");
  ASSERT_TRUE(flag.ok());
  auto backend = MakePairBackend(*flag, vectors.decoder, {256});
  ASSERT_TRUE(backend.ok()) << backend.status();
  const LoraAdapter adapter = vectors.Adapter();
  const LoraAdapter* const adapters[] = {&adapter};
  const auto stack =
      std::make_shared<const LoraStack>(FuseAdapters(vectors.decoder->config(), adapters));
  ASSERT_TRUE((*backend)->Warm(stack).ok());
  TokenBatch batch;
  const int reference = (*backend)->pages().AddSequence();
  const int offset = (*backend)->pages().AddSequence();
  batch.Add(5, reference, 0);
  batch.Add(5, offset, 0);
  batch.loras.push_back({1, 2, stack.get()});
  const auto delta = (*backend)->Deltas(batch, {{0, 1}});
  ASSERT_TRUE(delta.ok()) << delta.status();
  EXPECT_GT(delta->abs().max().item<double>(), 0);
}

}  // namespace

absl::StatusOr<std::unique_ptr<DeviceRuntime>> MakeTestRuntime() {
  if (!WhyNoGpu().empty()) return absl::FailedPreconditionError(WhyNoGpu());
  return MakeCudaRuntime(0);
}

}  // namespace unlearn

extern "C" __attribute__((visibility("default"))) int UnlearnCudaChecks(int argc, char** argv,
                                                                        const char* why_no_gpu) {
  unlearn::WhyNoGpu() = why_no_gpu;
  bool bench = false;
  for (int i = 1; i < argc; ++i) bench = bench || strcmp(argv[i], "--bench") == 0;
  testing::InitGoogleTest(&argc, argv);
  const int status = RUN_ALL_TESTS();
  if (status != 0 || !bench) return status;
  if (*why_no_gpu != '\0') {
    printf("no benchmarks: %s\n", why_no_gpu);
    return 0;
  }
  const absl::Status measured = unlearn::RunCudaBench();
  if (!measured.ok()) fprintf(stderr, "cuda_checks: %s\n", measured.ToString().c_str());
  return measured.ok() ? 0 : 1;
}
