#include "trainer/queue/request_id.h"

#include <errno.h>
#include <sys/random.h>

#include <cstdint>
#include <cstdlib>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace unlearn {

std::string RandomRequestId() {
  char bytes[8];
  ssize_t got = 0;
  do {
    got = getrandom(bytes, sizeof(bytes), 0);
  } while (got < 0 && errno == EINTR);
  // Reads of up to 256 bytes are never short once the kernel's generator is seeded.
  if (got != sizeof(bytes)) std::abort();
  return absl::StrCat("req-", absl::BytesToHexString(absl::string_view(bytes, sizeof(bytes))));
}

}  // namespace unlearn
