#include "offset/model/tensor_io.h"

#include <ATen/ATen.h>

#include "absl/strings/match.h"
#include "gtest/gtest.h"

namespace unlearn {
namespace {

TEST(TensorIoTest, RoundTripInEveryType) {
  at::manual_seed(1);
  const std::map<std::string, at::Tensor> tensors = {{"a", at::randn({3, 5}).t()},
                                                     {"b", at::randn({7})},
                                                     {"scalar", at::tensor(2.5)},
                                                     {"empty", at::zeros({0, 4})}};
  for (const at::ScalarType type : {at::kFloat, at::kHalf, at::kBFloat16}) {
    const auto file =
        SafetensorsFile::FromBytes(SerializeTensors(tensors, type, {{"k", "v"}}), "memory");
    ASSERT_TRUE(file.ok()) << file.status();
    EXPECT_EQ((*file)->metadata().at("k"), "v");
    for (const auto& [name, tensor] : tensors) {
      const auto read = TensorFromView(name, (*file)->tensors().at(name), at::kFloat);
      ASSERT_TRUE(read.ok()) << read.status();
      EXPECT_TRUE(at::equal(*read, tensor.to(type).to(at::kFloat))) << name;
    }
  }
}

TEST(TensorIoTest, UnalignedDataIsRead) {
  const float values[] = {1.5f, -2.5f};
  std::string bytes(1 + sizeof(values), 'x');
  memcpy(&bytes[1], values, sizeof(values));
  const auto read = TensorFromView("a", {"F32", {2}, bytes.data() + 1, sizeof(values)}, at::kFloat);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_TRUE(at::equal(*read, at::tensor({1.5f, -2.5f})));
}

TEST(TensorIoTest, RefusesOtherTypesAndValuesThatAreNotFinite) {
  const int64_t integer = 1;
  const absl::Status type =
      TensorFromView("the name", {"I64", {1}, reinterpret_cast<const char*>(&integer), 8},
                     at::kFloat)
          .status();
  EXPECT_EQ(type.code(), absl::StatusCode::kUnimplemented);
  EXPECT_TRUE(absl::StrContains(type.message(), "the name")) << type;
  // The last overflows in fp16 only.
  for (const float value : {NAN, INFINITY, -INFINITY, 1e6f}) {
    const TensorView view = {"F32", {1}, reinterpret_cast<const char*>(&value), 4};
    const absl::Status status = TensorFromView("the name", view, at::kHalf).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << value;
    EXPECT_TRUE(absl::StrContains(status.message(), "the name")) << status;
  }
}

}  // namespace
}  // namespace unlearn
