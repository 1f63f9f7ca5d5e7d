#ifndef TESTS_FUZZ_FUZZ_FOLDER_H_
#define TESTS_FUZZ_FUZZ_FOLDER_H_

#include <string>

#include "absl/strings/string_view.h"

namespace unlearn {

// A fresh folder of this process (in TEST_TMPDIR, /dev/shm or /tmp), removed when it ends.
const std::string& FuzzFolder();

// Without fsync, unlike the store's own: the fuzzers write thousands of files a second.
void WriteQuickly(const std::string& path, absl::string_view bytes);

// Removes a folder of files and folders, if there is one.
void RemoveFolder(const std::string& path);

}  // namespace unlearn

#endif  // TESTS_FUZZ_FUZZ_FOLDER_H_
