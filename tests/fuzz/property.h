#ifndef TESTS_FUZZ_PROPERTY_H_
#define TESTS_FUZZ_PROPERTY_H_

#include <cstdio>
#include <cstdlib>
#include <string>

#include "absl/strings/string_view.h"

namespace unlearn {

// Ends the program, so that the fuzzer keeps the input, when something that must hold does not.
inline void Property(bool holds, absl::string_view what) {
  if (holds) return;
  std::fprintf(stderr, "PROPERTY BROKEN: %.*s\n", static_cast<int>(what.size()), what.data());
  std::abort();
}

// The fuzzer's input, taken from its start piece by piece; zeros and nothing after its end.
class Input {
 public:
  Input(const unsigned char* data, size_t size)
      : rest_(reinterpret_cast<const char*>(data), size) {}

  unsigned char Byte() {
    if (rest_.empty()) return 0;
    const unsigned char byte = rest_[0];
    rest_.remove_prefix(1);
    return byte;
  }
  size_t TwoBytes() {
    const size_t low = Byte();
    return low + 256 * size_t{Byte()};
  }
  // What precedes the next `separator`, or all.
  std::string Until(char separator) {
    const size_t end = rest_.find(separator);
    const std::string part(rest_.substr(0, end));
    rest_.remove_prefix(end == absl::string_view::npos ? rest_.size() : end + 1);
    return part;
  }
  std::string Rest() {
    const std::string rest(rest_);
    rest_ = {};
    return rest;
  }
  bool empty() const { return rest_.empty(); }

 private:
  absl::string_view rest_;
};

}  // namespace unlearn

#endif  // TESTS_FUZZ_PROPERTY_H_
