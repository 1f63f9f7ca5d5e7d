#include "proxy/transport/sse_reader.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace unlearn {
namespace {

constexpr absl::string_view kByteOrderMark = "\xEF\xBB\xBF";

}  // namespace

absl::Status SseReader::Append(absl::string_view piece, std::vector<std::string>& events) {
  if (!status_.ok()) return status_;
  while (mark_bytes_ < kByteOrderMark.size() && !piece.empty()) {
    if (piece[0] != kByteOrderMark[mark_bytes_]) {
      line_ = std::string(kByteOrderMark.substr(0, mark_bytes_));  // it was none
      mark_bytes_ = kByteOrderMark.size();
    } else {
      ++mark_bytes_;
      piece.remove_prefix(1);
    }
  }
  while (!piece.empty()) {
    if (skip_line_feed_) {
      skip_line_feed_ = false;
      if (piece[0] == '\n') {
        piece.remove_prefix(1);
        continue;
      }
    }
    const size_t end = piece.find_first_of("\r\n");
    const absl::string_view part = piece.substr(0, end);
    if (line_.size() + data_.size() + part.size() > max_event_bytes_) {
      status_ = absl::ResourceExhaustedError(absl::StrCat(
          "a server-sent event has more than the ", max_event_bytes_, " bytes that are taken"));
      line_ = data_ = std::string();
      return status_;
    }
    line_.append(part.data(), part.size());
    if (end == absl::string_view::npos) break;
    skip_line_feed_ = piece[end] == '\r';
    piece.remove_prefix(end + 1);
    EndLine(events);
  }
  return absl::OkStatus();
}

void SseReader::EndLine(std::vector<std::string>& events) {
  absl::string_view value = line_;
  if (value.empty()) {
    if (has_data_) events.push_back(std::move(data_));
    data_.clear();
    has_data_ = false;
  } else if (absl::ConsumePrefix(&value, "data") && (value.empty() || value[0] == ':')) {
    absl::ConsumePrefix(&value, ":");
    absl::ConsumePrefix(&value, " ");
    if (has_data_) {
      absl::StrAppend(&data_, "\n", value);
    } else {
      data_.assign(value.data(), value.size());
    }
    has_data_ = true;
  }
  line_.clear();
}

absl::Status SseReader::End() const {
  if (!status_.ok()) return status_;
  if (!has_data_ && (line_.empty() || line_[0] == ':')) return absl::OkStatus();
  return absl::DataLossError("the stream ended in the middle of a server-sent event");
}

}  // namespace unlearn
