#ifndef OFFSET_BASE_STATUS_MACROS_H_
#define OFFSET_BASE_STATUS_MACROS_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// Returns from the enclosing function when `expression` (an absl::Status) is not OK.
#define RETURN_IF_ERROR(expression)                    \
  do {                                                 \
    ::absl::Status unlearn_status_ = (expression);     \
    if (!unlearn_status_.ok()) return unlearn_status_; \
  } while (false)

#define UNLEARN_CONCAT_INNER_(a, b) a##b
#define UNLEARN_CONCAT_(a, b) UNLEARN_CONCAT_INNER_(a, b)

// ASSIGN_OR_RETURN(auto x, F()): the value of a StatusOr, or a return with its status.
#define ASSIGN_OR_RETURN(target, expression) \
  ASSIGN_OR_RETURN_IMPL_(UNLEARN_CONCAT_(unlearn_or_, __LINE__), target, expression)
#define ASSIGN_OR_RETURN_IMPL_(status_or, target, expression) \
  auto status_or = (expression);                              \
  if (!status_or.ok()) return std::move(status_or).status();  \
  target = *std::move(status_or)

#endif  // OFFSET_BASE_STATUS_MACROS_H_
