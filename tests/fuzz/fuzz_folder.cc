#include "tests/fuzz/fuzz_folder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "tests/fuzz/property.h"

namespace unlearn {

const std::string& FuzzFolder() {
  static const std::string* const folder = [] {
    const char* test = std::getenv("TEST_TMPDIR");
    std::string parent = test != nullptr ? test : "/dev/shm";
    if (access(parent.c_str(), W_OK) != 0) parent = "/tmp";
    auto* name = new std::string(parent + "/unlearn_fuzz.XXXXXX");
    Property(mkdtemp(&(*name)[0]) != nullptr, "a temporary folder can be made in " + parent);
    std::atexit([] { RemoveFolder(FuzzFolder()); });
    return name;
  }();
  return *folder;
}

void WriteQuickly(const std::string& path, absl::string_view bytes) {
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  Property(
      file >= 0 && write(file, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()),
      "a temporary file can be written");
  close(file);
}

void RemoveFolder(const std::string& path) {
  std::error_code ignored;
  std::filesystem::remove_all(path, ignored);
}

}  // namespace unlearn
