#include "proxy/decode/text_assembler.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"

namespace unlearn {

TextAssembler::TextAssembler(std::shared_ptr<const Tokenizer> tokenizer,
                             std::vector<std::string> stop)
    : decoder_(std::move(tokenizer), /*skip_special_tokens=*/true, /*at_text_start=*/false),
      stop_(std::move(stop)) {}

std::string TextAssembler::Append(int32_t id) {
  if (stopped_) return "";
  held_ += decoder_.Append(id);
  return Release(/*everything=*/false);
}

std::string TextAssembler::Finish() {
  if (stopped_) return "";
  held_ += decoder_.Flush();
  return Release(/*everything=*/true);
}

std::string TextAssembler::Release(bool everything) {
  size_t first = std::string::npos;
  for (const std::string& stop : stop_) first = std::min(first, held_.find(stop));
  if (first != std::string::npos) {
    stopped_ = true;
    std::string text = held_.substr(0, first);
    held_.clear();
    return text;
  }
  // Keep the longest end that begins a stop string, but never split a character: a stop string is
  // valid UTF-8, so where one can begin a character begins.
  size_t keep = 0;
  if (!everything) {
    for (const std::string& stop : stop_) {
      for (size_t length = std::min(stop.size() - 1, held_.size()); length > keep; --length) {
        if (absl::EndsWith(held_, absl::string_view(stop).substr(0, length))) {
          keep = length;
          break;
        }
      }
    }
  }
  std::string text = held_.substr(0, held_.size() - keep);
  held_.erase(0, held_.size() - keep);
  return text;
}

}  // namespace unlearn
