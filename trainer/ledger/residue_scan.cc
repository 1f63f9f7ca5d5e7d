#include "trainer/ledger/residue_scan.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <set>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "offset/base/file.h"
#include "offset/base/status_macros.h"

namespace unlearn {
namespace {

constexpr size_t kMinTextBytes = 6;
constexpr size_t kMinTokens = 3;

// One code point of valid UTF-8; anything else is taken byte by byte.
char32_t NextCodePoint(absl::string_view* text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>((*text)[i]); };
  const unsigned char lead = byte(0);
  size_t length = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  char32_t point = length == 1 ? lead : lead & (0xff >> (length + 1));
  if (length > text->size()) length = 1;
  for (size_t i = 1; i < length; ++i) point = (point << 6) | (byte(i) & 0x3f);
  text->remove_prefix(length);
  return point;
}

enum class Hex { kLower, kUpper, kNone };  // kNone: non-ASCII stays UTF-8

std::string JsonEscape(absl::string_view text, Hex hex) {
  const auto unit = [hex](std::string* out, uint32_t value) {
    absl::StrAppend(out, hex == Hex::kUpper ? absl::StrFormat("\\u%04X", value)
                                            : absl::StrFormat("\\u%04x", value));
  };
  std::string out;
  while (!text.empty()) {
    const absl::string_view before = text;
    const char32_t point = NextCodePoint(&text);
    const absl::string_view raw = before.substr(0, before.size() - text.size());
    switch (point) {
      case '"':
        out += "\\\"";
        continue;
      case '\\':
        out += "\\\\";
        continue;
      case '\n':
        out += "\\n";
        continue;
      case '\r':
        out += "\\r";
        continue;
      case '\t':
        out += "\\t";
        continue;
      case '\b':
        out += "\\b";
        continue;
      case '\f':
        out += "\\f";
        continue;
    }
    if (point < 0x20) {
      unit(&out, point);
    } else if (point < 0x80 || hex == Hex::kNone) {
      absl::StrAppend(&out, raw);
    } else if (point < 0x10000) {
      unit(&out, point);
    } else {
      unit(&out, 0xd800 + ((point - 0x10000) >> 10));
      unit(&out, 0xdc00 + ((point - 0x10000) & 0x3ff));
    }
  }
  return out;
}

// The part of the base64 form that depends on `text` alone when `lead` bytes (0, 1 or 2, modulo 3)
// stand before it and anything behind it.
std::string Base64Core(absl::string_view text, size_t lead, bool url) {
  const std::string padded = absl::StrCat(std::string(lead, 'x'), text);
  const std::string encoded = url ? absl::WebSafeBase64Escape(padded) : absl::Base64Escape(padded);
  const size_t first = (lead * 8 + 5) / 6;   // digits that hold bits of what stands before
  const size_t end = padded.size() * 8 / 6;  // whole digits
  return encoded.substr(first, end - first);
}

template <typename Integer>
std::string LittleEndian(absl::Span<const int32_t> ids) {
  std::string bytes;
  for (const int32_t id : ids) {
    uint64_t value = static_cast<uint64_t>(static_cast<int64_t>(id));
    for (size_t i = 0; i < sizeof(Integer); ++i) {
      bytes.push_back(static_cast<char>(value & 0xff));
      value >>= 8;
    }
  }
  return bytes;
}

std::string Varints(absl::Span<const int32_t> ids) {
  std::string bytes;
  for (const int32_t id : ids) {
    uint64_t value = static_cast<uint64_t>(static_cast<int64_t>(id));
    for (; value >= 0x80; value >>= 7) bytes.push_back(static_cast<char>((value & 0x7f) | 0x80));
    bytes.push_back(static_cast<char>(value));
  }
  return bytes;
}

struct Search {
  std::vector<std::pair<size_t, ResiduePattern>> patterns;  // with the needle's index
  std::vector<Residue> found;
};

absl::Status Unreadable(const std::string& path) {
  return absl::InternalError(absl::StrCat("cannot search ", path, ": ", strerror(errno)));
}

absl::Status SearchFile(const std::string& path, Search* search) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return errno == ENOENT ? absl::OkStatus() : Unreadable(path);
  struct stat info;
  if (fstat(fd, &info) != 0 || info.st_size == 0) {
    close(fd);
    return absl::OkStatus();
  }
  // Not mapped: another process may cut the file short meanwhile.
  std::string bytes(info.st_size, '\0');
  size_t size = 0;
  while (size < bytes.size()) {
    const ssize_t got = pread(fd, &bytes[size], bytes.size() - size, size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      const absl::Status status = Unreadable(path);
      close(fd);
      return status;
    }
    if (got == 0) break;
    size += got;
  }
  close(fd);
  for (const auto& pattern : search->patterns) {
    const std::string& wanted = pattern.second.bytes;
    const void* hit = memmem(bytes.data(), size, wanted.data(), wanted.size());
    if (hit == nullptr) continue;
    const uint64_t offset = static_cast<const char*>(hit) - bytes.data();
    search->found.push_back({path, offset, pattern.first, pattern.second.form});
  }
  return absl::OkStatus();
}

absl::Status SearchFolder(const std::string& folder, Search* search) {
  const auto names = ListFolder(folder);
  if (absl::IsNotFound(names.status())) return absl::OkStatus();
  RETURN_IF_ERROR(names.status());
  for (const std::string& name : *names) {
    const std::string path = JoinPath(folder, name);
    struct stat info;
    if (lstat(path.c_str(), &info) != 0) {
      if (errno == ENOENT) continue;
      return Unreadable(path);
    }
    if (S_ISDIR(info.st_mode)) {
      RETURN_IF_ERROR(SearchFolder(path, search));
    } else if (S_ISREG(info.st_mode)) {
      RETURN_IF_ERROR(SearchFile(path, search));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<ResiduePattern>> ResiduePatterns(const ResidueNeedle& needle) {
  if (needle.text.empty() && needle.token_ids.empty()) {
    return absl::InvalidArgumentError("a needle needs a text or token ids");
  }
  if (!needle.text.empty() && needle.text.size() < kMinTextBytes) {
    return absl::InvalidArgumentError(absl::StrCat("a needle's text of ", needle.text.size(),
                                                   " bytes is found everywhere; give ",
                                                   kMinTextBytes, " or more"));
  }
  if (!needle.token_ids.empty() && needle.token_ids.size() < kMinTokens) {
    return absl::InvalidArgumentError(absl::StrCat("a needle of ", needle.token_ids.size(),
                                                   " token ids is found everywhere; give ",
                                                   kMinTokens, " or more"));
  }
  std::vector<ResiduePattern> patterns;
  std::set<std::string> seen;
  const auto add = [&](const char* form, std::string bytes) {
    if (seen.insert(bytes).second) patterns.push_back({form, std::move(bytes)});
  };
  if (!needle.text.empty()) {
    add("utf-8", needle.text);
    for (const Hex hex : {Hex::kNone, Hex::kLower, Hex::kUpper}) {
      add("json", JsonEscape(needle.text, hex));
    }
    for (size_t lead = 0; lead < 3; ++lead) {
      for (const bool url : {false, true}) add("base64", Base64Core(needle.text, lead, url));
    }
  }
  if (!needle.token_ids.empty()) {
    add("int32", LittleEndian<int32_t>(needle.token_ids));
    add("int64", LittleEndian<int64_t>(needle.token_ids));
    // A few ids of one byte each would be found by chance.
    std::string varints = Varints(needle.token_ids);
    if (varints.size() >= kMinTextBytes) add("varint", std::move(varints));
  }
  return patterns;
}

absl::StatusOr<std::vector<Residue>> FindResidue(absl::Span<const std::string> folders,
                                                 absl::Span<const ResidueNeedle> needles) {
  Search search;
  for (size_t i = 0; i < needles.size(); ++i) {
    ASSIGN_OR_RETURN(std::vector<ResiduePattern> patterns, ResiduePatterns(needles[i]));
    for (ResiduePattern& pattern : patterns) search.patterns.emplace_back(i, std::move(pattern));
  }
  for (const std::string& folder : folders) RETURN_IF_ERROR(SearchFolder(folder, &search));
  return std::move(search.found);
}

}  // namespace unlearn
