#ifndef PROXY_TRANSPORT_SSE_READER_H_
#define PROXY_TRANSPORT_SSE_READER_H_

#include <stddef.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace unlearn {

// Takes a stream of server-sent events (WHATWG HTML, section 9.2) apart, however it was cut into
// pieces. Only the data is kept: comments and the fields event, id and retry are skipped. For one
// stream; not thread-safe.
class SseReader {
 public:
  // `max_event_bytes` bounds what is held here: the data of one event and the line it is in.
  explicit SseReader(size_t max_event_bytes) : max_event_bytes_(max_event_bytes) {}

  // Appends the data of each event that `piece` completes to `events`, its lines joined by '\n'.
  // RESOURCE_EXHAUSTED for a larger event, with every later call too; events before it are given.
  absl::Status Append(absl::string_view piece, std::vector<std::string>& events);

  // After the last piece: DATA_LOSS where an event has begun and was not ended by an empty line.
  absl::Status End() const;

 private:
  void EndLine(std::vector<std::string>& events);

  const size_t max_event_bytes_;
  absl::Status status_;
  size_t mark_bytes_ = 0;        // of the byte order mark, seen so far; 3: behind it
  bool skip_line_feed_ = false;  // the last byte was a carriage return
  std::string line_;             // so far
  std::string data_;             // of this event, so far
  bool has_data_ = false;
};

}  // namespace unlearn

#endif  // PROXY_TRANSPORT_SSE_READER_H_
