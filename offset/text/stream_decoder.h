#ifndef OFFSET_TEXT_STREAM_DECODER_H_
#define OFFSET_TEXT_STREAM_DECODER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "offset/text/tokenizer.h"

namespace unlearn {

// Turns ids into text as they come. A character may span tokens, so bytes that could still become
// one are held back (three at most); everything handed out is final and valid UTF-8. All of Append
// and the Flush, concatenated, equal Decode of all ids. Not thread-safe.
class StreamDecoder {
 public:
  // `at_text_start`: the ids begin a text, so that Decode's rule for its first spaces holds. False
  // for what goes on from a prompt, whose first space is a real one.
  explicit StreamDecoder(std::shared_ptr<const Tokenizer> tokenizer,
                         bool skip_special_tokens = true, bool at_text_start = true)
      : tokenizer_(std::move(tokenizer)),
        skip_special_tokens_(skip_special_tokens),
        strip_(at_text_start ? tokenizer_->strip_start() : 0) {}

  // The text that `id` completes, often empty. An id that stands for no token gives U+FFFD.
  std::string Append(int32_t id);

  // What is still held back, as U+FFFD. The decoder is then as new.
  std::string Flush();

  // Bytes held back: text so far ends in the middle of a character.
  size_t pending_bytes() const { return pending_.size(); }

 private:
  std::shared_ptr<const Tokenizer> tokenizer_;
  bool skip_special_tokens_;
  int strip_;  // spaces that are still to be left out
  std::string pending_;
};

}  // namespace unlearn

#endif  // OFFSET_TEXT_STREAM_DECODER_H_
