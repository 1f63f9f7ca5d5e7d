#ifndef TOOLS_CLI_OUTPUT_H_
#define TOOLS_CLI_OUTPUT_H_

#include <cstdint>
#include <ostream>
#include <string>

#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace unlearn {

using Json = nlohmann::ordered_json;

// Where a command writes: results to `out`, what happens meanwhile to `err`. With --json `out` gets
// JSON objects, one a line, and nothing else.
struct Console {
  std::ostream& out;
  std::ostream& err;
  bool out_is_terminal = false;
  bool err_is_terminal = false;  // progress may redraw its line there
};

// One line, flushed, so that a reader of a watch sees it at once. NaN and infinities become null.
void PrintJson(const Json& json, Console& console);

// The double whose shortest decimal form is the float's: -0.1f becomes -0.1, and casts back
// exactly.
double ShortDouble(float value);

// Text that a server or a file gave, for a terminal: control characters (which could move the
// cursor or hide a line) become '?', line feeds and tabs stay.
std::string ForTerminal(absl::string_view text);

// Text for stdout: exactly as it is for a file or a pipe, ForTerminal for a terminal.
void PrintText(absl::string_view text, Console& console);

// "2026-01-31 12:00:00Z"; "-" for 0.
std::string FormatUnixSeconds(int64_t seconds);

}  // namespace unlearn

#endif  // TOOLS_CLI_OUTPUT_H_
