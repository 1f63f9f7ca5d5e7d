#ifndef OFFSET_MODEL_TORCH_BOUNDARY_H_
#define OFFSET_MODEL_TORCH_BOUNDARY_H_

#include <c10/util/Exception.h>

#include <exception>
#include <new>
#include <string>
#include <type_traits>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace unlearn {

// The one place where LibTorch's exceptions end. Runs `body` (returning Status or StatusOr) and
// turns what it throws into a status: memory into RESOURCE_EXHAUSTED, the rest into INTERNAL.
template <typename Body>
auto CatchTorch(absl::string_view what, Body&& body) -> std::invoke_result_t<Body> {
  const auto failed = [&](const char* message) {
    const std::string text = message;
    return text.find("memory") != std::string::npos
               ? absl::ResourceExhaustedError(absl::StrCat(what, ": ", text))
               : absl::InternalError(absl::StrCat(what, ": ", text));
  };
  try {
    return body();
  } catch (const c10::Error& error) {
    return failed(error.what_without_backtrace());
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(absl::StrCat(what, ": out of memory"));
  } catch (const std::exception& error) {
    return failed(error.what());
  }
}

}  // namespace unlearn

#endif  // OFFSET_MODEL_TORCH_BOUNDARY_H_
