#ifndef PROXY_UPSTREAM_LLAMA_CPP_DIALECT_H_
#define PROXY_UPSTREAM_LLAMA_CPP_DIALECT_H_

#include <memory>

#include "proxy/upstream/completion_dialect.h"

namespace unlearn {

// llama.cpp's own /completion.
std::unique_ptr<CompletionDialect> NewLlamaCppDialect();

}  // namespace unlearn

#endif  // PROXY_UPSTREAM_LLAMA_CPP_DIALECT_H_
