// Weights and adapters as they come from somebody else: the bytes as a file, and as the header of a
// file with as much data as the first two bytes say.

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>

#include "offset/model/safetensors.h"
#include "tests/fuzz/property.h"

namespace unlearn {
namespace {

void CheckFile(const std::string& bytes) {
  const auto file = SafetensorsFile::FromBytes(bytes, "fuzz");
  if (!file.ok()) {
    Property(absl::IsInvalidArgument(file.status()), "a bad file is INVALID_ARGUMENT");
    return;
  }
  size_t total = 0;
  for (const auto& [name, view] : (*file)->tensors()) {
    size_t elements = 1;
    for (const int64_t extent : view.shape) elements *= extent;
    Property(view.bytes == elements * SafetensorsDtypeSize(view.dtype), "bytes follow the shape");
    // Reads each byte: AddressSanitizer knows where the file ends.
    volatile char sum = 0;
    for (size_t i = 0; i < view.bytes; ++i) sum = sum + view.data[i];
    total += view.bytes;
  }
  Property(total <= bytes.size(), "tensors do not overlap");

  const std::string written = SerializeSafetensors((*file)->tensors(), (*file)->metadata());
  const auto again = SafetensorsFile::FromBytes(written, "written");
  Property(again.ok(), again.status().ToString());
  Property((*again)->metadata() == (*file)->metadata(), "metadata survive");
  Property((*again)->tensors().size() == (*file)->tensors().size(), "all tensors are there");
  for (const auto& [name, view] : (*file)->tensors()) {
    const TensorView& other = (*again)->tensors().at(name);
    Property(view.dtype == other.dtype && view.shape == other.shape && view.bytes == other.bytes &&
                 (view.bytes == 0 || std::memcmp(view.data, other.data, view.bytes) == 0),
             "a tensor survives");
  }
}

}  // namespace
}  // namespace unlearn

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  unlearn::CheckFile(std::string(reinterpret_cast<const char*>(data), size));
  unlearn::Input input(data, size);
  const size_t data_bytes = input.TwoBytes();
  const std::string header = input.Rest();
  const uint64_t header_bytes = header.size();
  std::string file(reinterpret_cast<const char*>(&header_bytes), 8);
  unlearn::CheckFile(file + header + std::string(data_bytes, 'x'));
  return 0;
}
