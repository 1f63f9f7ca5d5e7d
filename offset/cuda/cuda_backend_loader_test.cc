#include "offset/cuda/cuda_backend_loader.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "offset/cuda/cuda_libraries.h"
#include "offset/model/decoder_vectors.h"

namespace unlearn {
namespace {

using testing::HasSubstr;

constexpr char kNoDriver[] = "libcuda-that-nobody-has.so.1";
// A driver that claims to have GPUs, or none, and back ends that are none or of another build.
constexpr char kFolder[] = "offset/cuda/";
std::string File(const char* name) { return std::string(kFolder) + name; }

class CudaBackendLoaderTest : public testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<PairBackend>> Make(const char* device, const CudaPaths& paths) {
    const auto flag = ParseDeviceFlag(device);
    EXPECT_TRUE(flag.ok()) << flag.status();
    return MakePairBackend(*flag, vectors_.decoder, {64}, paths);
  }
  void ExpectMissing(const CudaPaths& paths, const std::string& what) {
    const auto backend = Make("cuda", paths);
    EXPECT_EQ(backend.status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(backend.status().message()), HasSubstr("--device=cuda"));
    EXPECT_THAT(std::string(backend.status().message()), HasSubstr(what));
    // What cuda refuses, auto runs on the CPU.
    testing::internal::CaptureStderr();
    const auto automatic = Make("auto", paths);
    const std::string log = testing::internal::GetCapturedStderr();
    EXPECT_TRUE(automatic.ok()) << automatic.status();
    EXPECT_THAT(log, HasSubstr("--device=auto: the pair runs on the CPU"));
    EXPECT_THAT(log, HasSubstr(what));
  }
  const DecoderVectors vectors_{"grouped_new"};
};

TEST(ParseDeviceFlagTest, TakesWhatTheHelpSays) {
  EXPECT_EQ(ParseDeviceFlag("auto")->kind, DeviceFlag::Kind::kAuto);
  EXPECT_EQ(ParseDeviceFlag("cpu")->kind, DeviceFlag::Kind::kCpu);
  EXPECT_EQ(ParseDeviceFlag("cuda")->ordinal, 0);
  EXPECT_EQ(ParseDeviceFlag("cuda:12")->ordinal, 12);
  EXPECT_EQ(ParseDeviceFlag("cuda:12")->kind, DeviceFlag::Kind::kCuda);
  for (const char* const wrong : {"", "gpu", "cuda:", "cuda:-1", "cuda:x", "cuda1", "cuda:1 ",
                                  "cuda:9999999999", "CPU", "cpu:0", "cuda:+1"}) {
    const auto flag = ParseDeviceFlag(wrong);
    EXPECT_EQ(flag.status().code(), absl::StatusCode::kInvalidArgument) << wrong;
    EXPECT_THAT(std::string(flag.status().message()), HasSubstr("auto, cpu, cuda or cuda:N"));
  }
}

TEST(ParseDeviceFlagTest, OfProgramsForTheCpuOnly) {
  EXPECT_TRUE(CheckCpuOnlyDeviceFlag("auto").ok());
  EXPECT_TRUE(CheckCpuOnlyDeviceFlag("cpu").ok());
  EXPECT_EQ(CheckCpuOnlyDeviceFlag("cuda:1"),
            absl::InvalidArgumentError(
                "--device cuda:1: this program runs on the CPU only; must be auto or cpu"));
  EXPECT_EQ(CheckCpuOnlyDeviceFlag("gpu"),
            absl::InvalidArgumentError("--device gpu: must be auto or cpu"));
}

TEST_F(CudaBackendLoaderTest, WithoutADriver) {
  CudaPaths paths;
  paths.driver = kNoDriver;
  ExpectMissing(paths, "no NVIDIA driver");
  ExpectMissing(paths, kNoDriver);
}

TEST_F(CudaBackendLoaderTest, ADriverWithoutAGpu) {
  CudaPaths paths;
  paths.driver = File("libfake_driver_no_gpu.so");
  ExpectMissing(paths, "no GPU");
  paths.driver = File("libfake_backend_empty.so");
  ExpectMissing(paths, "is not NVIDIA's driver");
}

TEST_F(CudaBackendLoaderTest, WithoutLibTorchsCudaPart) {
  CudaPaths paths;
  paths.driver = File("libfake_driver.so");
  paths.torch_folder = "/nonexistent";
  ExpectMissing(paths, "LibTorch's CUDA part does not load");
}

TEST_F(CudaBackendLoaderTest, WithoutABackend) {
  CudaPaths paths;
  paths.driver = File("libfake_driver.so");
  // A stand-in for libtorch_cuda.so, which loads.
  paths.torch_folder = File("fake_torch");
  paths.backend = "/nonexistent/libunlearn_cuda.so";
  ExpectMissing(paths, "/nonexistent/libunlearn_cuda.so");
  paths.backend = File("libfake_backend_empty.so");
  ExpectMissing(paths, "is not a CUDA back end");
}

TEST_F(CudaBackendLoaderTest, ABackendOfAnotherBuild) {
  CudaPaths paths;
  paths.driver = File("libfake_driver.so");
  paths.torch_folder = File("fake_torch");
  paths.backend = File("libfake_backend_old.so");
  ExpectMissing(paths, "is of another build (x)");
}

TEST_F(CudaBackendLoaderTest, ABackendThatFitsIsUsed) {
  CudaPaths paths;
  paths.driver = File("libfake_driver.so");
  paths.torch_folder = File("fake_torch");
  paths.backend = File("libfake_backend.so");
  ExpectMissing(paths, "GPU 0 is a fake");
}

// The one that servers open, on a machine without a GPU: refused before anything of CUDA is read.
TEST_F(CudaBackendLoaderTest, OnThisMachine) {
  const absl::Status driver = CheckCudaDriver();
  if (driver.ok()) GTEST_SKIP() << "this machine has a GPU";
  ExpectMissing(CudaPaths(), std::string(driver.message()));
}

TEST_F(CudaBackendLoaderTest, TheCpuNeedsNothing) {
  CudaPaths paths;
  paths.driver = kNoDriver;
  const auto backend = Make("cpu", paths);
  ASSERT_TRUE(backend.ok()) << backend.status();
  EXPECT_EQ((*backend)->pages().total_tokens(), 64);
}

}  // namespace
}  // namespace unlearn
