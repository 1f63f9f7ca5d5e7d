#ifndef OFFSET_MODEL_SAFETENSORS_H_
#define OFFSET_MODEL_SAFETENSORS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace unlearn {

// One tensor of a safetensors file: little-endian, row-major, `data` inside the mapped file.
struct TensorView {
  std::string dtype;  // "F32", "BF16", "F16", ...
  std::vector<int64_t> shape;
  const char* data = nullptr;
  size_t bytes = 0;
};

// Bytes of one element; 0 for a dtype that is not known.
size_t SafetensorsDtypeSize(absl::string_view dtype);

// A safetensors file, memory-mapped or held in memory (a sealed adapter after decryption). The
// header is checked whole before any view is given out: sizes, offsets, overlaps and holes.
// Immutable and thread-safe after Open.
class SafetensorsFile {
 public:
  // INVALID_ARGUMENT names the file and what is wrong with it.
  static absl::StatusOr<std::unique_ptr<SafetensorsFile>> Open(const std::string& path);
  static absl::StatusOr<std::unique_ptr<SafetensorsFile>> FromBytes(std::string bytes,
                                                                    const std::string& origin);
  ~SafetensorsFile();
  SafetensorsFile(const SafetensorsFile&) = delete;
  SafetensorsFile& operator=(const SafetensorsFile&) = delete;

  const std::map<std::string, TensorView>& tensors() const { return tensors_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const std::string& path() const { return path_; }

 private:
  SafetensorsFile() = default;
  absl::Status ParseHeader(absl::string_view file);

  std::string path_;
  std::string owned_;        // the bytes, when not mapped
  void* mapping_ = nullptr;  // of mmap
  size_t mapping_bytes_ = 0;
  std::map<std::string, TensorView> tensors_;
  std::map<std::string, std::string> metadata_;
};

// The bytes of a safetensors file with these tensors, in name order, data aligned to 64 bytes.
std::string SerializeSafetensors(const std::map<std::string, TensorView>& tensors,
                                 const std::map<std::string, std::string>& metadata);

}  // namespace unlearn

#endif  // OFFSET_MODEL_SAFETENSORS_H_
