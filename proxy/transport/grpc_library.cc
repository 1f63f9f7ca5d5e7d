#include "proxy/transport/grpc_library.h"

#include "grpc/grpc.h"

namespace unlearn {

void KeepGrpcRunning() {
  static const bool done = [] {
    grpc_init();  // counted; the matching grpc_shutdown never comes
    return true;
  }();
  (void)done;
}

}  // namespace unlearn
