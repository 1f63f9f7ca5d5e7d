#ifndef PROXY_DECODE_TEXT_ASSEMBLER_H_
#define PROXY_DECODE_TEXT_ASSEMBLER_H_

#include <memory>
#include <string>
#include <vector>

#include "offset/text/stream_decoder.h"
#include "offset/text/tokenizer.h"

namespace unlearn {

// Turns generated ids into the text a client may see: valid UTF-8 only, nothing of a stop string,
// nothing that could still become one. Not thread-safe.
class TextAssembler {
 public:
  TextAssembler(std::shared_ptr<const Tokenizer> tokenizer, std::vector<std::string> stop);

  // The text that became final with this id. Once stopped() is true there is no more.
  std::string Append(int32_t id);
  // What was held back, at the end of a generation that no stop string ended.
  std::string Finish();
  bool stopped() const { return stopped_; }

 private:
  // Moves what is final from held_ to the result; cuts at a stop string.
  std::string Release(bool everything);

  StreamDecoder decoder_;
  const std::vector<std::string> stop_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace unlearn

#endif  // PROXY_DECODE_TEXT_ASSEMBLER_H_
