#include "offset/model/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "offset/base/status_macros.h"

namespace unlearn {
namespace {

using Json = nlohmann::json;

constexpr uint64_t kMaxHeaderBytes = 100 << 20;  // the reference implementation's own limit

// Parses the header; `twice` becomes a name that one object holds twice, of which JSON libraries
// keep the one or the other.
Json ParseObject(absl::string_view text, std::string& twice) {
  std::vector<std::set<std::string>> names;  // of the objects that are open
  const auto watch = [&](int, Json::parse_event_t event, Json& value) {
    if (event == Json::parse_event_t::object_start) {
      names.emplace_back();
    } else if (event == Json::parse_event_t::object_end) {
      names.pop_back();
    } else if (event == Json::parse_event_t::key) {
      const std::string& name = value.get_ref<const std::string&>();
      if (!names.back().insert(name).second) twice = name;
    }
    return true;
  };
  return Json::parse(text.begin(), text.end(), watch, /*allow_exceptions=*/false);
}

}  // namespace

size_t SafetensorsDtypeSize(absl::string_view dtype) {
  if (dtype == "F64" || dtype == "I64" || dtype == "U64") return 8;
  if (dtype == "F32" || dtype == "I32" || dtype == "U32") return 4;
  if (dtype == "F16" || dtype == "BF16" || dtype == "I16" || dtype == "U16") return 2;
  if (dtype == "I8" || dtype == "U8" || dtype == "BOOL" || dtype == "F8_E4M3" ||
      dtype == "F8_E5M2") {
    return 1;
  }
  return 0;
}

absl::StatusOr<std::unique_ptr<SafetensorsFile>> SafetensorsFile::Open(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    return absl::NotFoundError(absl::StrCat("cannot open ", path, ": ", strerror(errno)));
  }
  struct stat info;
  if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    close(fd);
    return absl::InvalidArgumentError(absl::StrCat(path, ": is no regular file"));
  }
  auto file = std::unique_ptr<SafetensorsFile>(new SafetensorsFile);
  file->path_ = path;
  if (info.st_size > 0) {
    void* mapping = mmap(nullptr, info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (mapping == MAP_FAILED) {
      return absl::InternalError(absl::StrCat("cannot map ", path, ": ", strerror(errno)));
    }
    file->mapping_ = mapping;
    file->mapping_bytes_ = info.st_size;
  } else {
    close(fd);
  }
  RETURN_IF_ERROR(file->ParseHeader(
      absl::string_view(static_cast<const char*>(file->mapping_), file->mapping_bytes_)));
  return file;
}

absl::StatusOr<std::unique_ptr<SafetensorsFile>> SafetensorsFile::FromBytes(
    std::string bytes, const std::string& origin) {
  auto file = std::unique_ptr<SafetensorsFile>(new SafetensorsFile);
  file->path_ = origin;
  file->owned_ = std::move(bytes);
  RETURN_IF_ERROR(file->ParseHeader(file->owned_));
  return file;
}

SafetensorsFile::~SafetensorsFile() {
  if (mapping_ != nullptr) munmap(mapping_, mapping_bytes_);
}

absl::Status SafetensorsFile::ParseHeader(absl::string_view file) {
  const auto error = [this](absl::string_view message) {
    return absl::InvalidArgumentError(
        absl::StrCat(path_, ": no valid safetensors file: ", message, "; copy or export it again"));
  };
  if (file.size() < 8) return error(absl::StrCat("only ", file.size(), " bytes"));
  uint64_t header_bytes;
  memcpy(&header_bytes, file.data(), 8);
  if (header_bytes > kMaxHeaderBytes || header_bytes > file.size() - 8) {
    return error(absl::StrCat("header length ", header_bytes, " exceeds the file of ", file.size(),
                              " bytes (truncated?)"));
  }
  const absl::string_view header = file.substr(8, header_bytes);
  const absl::string_view data = file.substr(8 + header_bytes);
  std::string twice;
  const Json json = ParseObject(header, twice);
  if (json.is_discarded() || !json.is_object()) return error("the header is no JSON object");
  if (!twice.empty()) return error(absl::StrCat("$.", twice, " stands twice"));

  std::vector<std::pair<uint64_t, uint64_t>> extents;
  for (const auto& item : json.items()) {
    const std::string& name = item.key();
    const Json& value = item.value();
    if (!value.is_object()) return error(absl::StrCat("$.", name, " is no object"));
    if (name == "__metadata__") {
      for (const auto& entry : value.items()) {
        if (!entry.value().is_string())
          return error("$.__metadata__ holds a value that is no string");
        metadata_[entry.key()] = entry.value().get<std::string>();
      }
      continue;
    }
    const auto dtype = value.find("dtype");
    const auto shape = value.find("shape");
    const auto offsets = value.find("data_offsets");
    if (dtype == value.end() || !dtype->is_string() || shape == value.end() || !shape->is_array() ||
        offsets == value.end() || !offsets->is_array() || offsets->size() != 2 ||
        !(*offsets)[0].is_number_unsigned() || !(*offsets)[1].is_number_unsigned()) {
      return error(absl::StrCat("$.", name, " lacks dtype, shape or data_offsets"));
    }
    TensorView view;
    view.dtype = dtype->get<std::string>();
    const size_t element = SafetensorsDtypeSize(view.dtype);
    if (element == 0) return error(absl::StrCat("$.", name, ".dtype ", view.dtype, " is unknown"));
    uint64_t bytes = element;
    for (const Json& extent : *shape) {
      if (!extent.is_number_unsigned())
        return error(absl::StrCat("$.", name, ".shape is malformed"));
      const uint64_t size = extent.get<uint64_t>();
      if (__builtin_mul_overflow(bytes, size, &bytes) || size > (uint64_t{1} << 62)) {
        return error(absl::StrCat("$.", name, ".shape overflows"));
      }
      view.shape.push_back(static_cast<int64_t>(size));
    }
    const uint64_t begin = (*offsets)[0].get<uint64_t>();
    const uint64_t end = (*offsets)[1].get<uint64_t>();
    if (begin > end || end > data.size()) {
      return error(absl::StrCat("$.", name, ".data_offsets [", begin, ", ", end,
                                "] lie outside the ", data.size(), " data bytes (truncated?)"));
    }
    if (end - begin != bytes) {
      return error(
          absl::StrCat("$.", name, " has ", end - begin, " bytes where its shape needs ", bytes));
    }
    view.data = data.data() + begin;
    view.bytes = bytes;
    extents.emplace_back(begin, end);
    tensors_[name] = std::move(view);
  }
  std::sort(extents.begin(), extents.end());
  uint64_t position = 0;
  for (const auto& [begin, end] : extents) {
    if (begin != position) return error(absl::StrCat("overlap or hole at data byte ", position));
    position = end;
  }
  if (position != data.size()) {
    return error(absl::StrCat(data.size() - position, " bytes follow the last tensor"));
  }
  return absl::OkStatus();
}

std::string SerializeSafetensors(const std::map<std::string, TensorView>& tensors,
                                 const std::map<std::string, std::string>& metadata) {
  Json json = Json::object();
  if (!metadata.empty()) json["__metadata__"] = metadata;
  uint64_t offset = 0;
  for (const auto& [name, view] : tensors) {
    json[name] = {{"dtype", view.dtype},
                  {"shape", view.shape},
                  {"data_offsets", {offset, offset + view.bytes}}};
    offset += view.bytes;
  }
  std::string header = json.dump();
  header.append((64 - (8 + header.size()) % 64) % 64, ' ');
  const uint64_t header_bytes = header.size();
  std::string file(8, '\0');
  memcpy(&file[0], &header_bytes, 8);
  file += header;
  file.reserve(file.size() + offset);
  for (const auto& [name, view] : tensors) file.append(view.data, view.bytes);
  return file;
}

}  // namespace unlearn
