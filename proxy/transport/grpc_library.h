#ifndef PROXY_TRANSPORT_GRPC_LIBRARY_H_
#define PROXY_TRANSPORT_GRPC_LIBRARY_H_

namespace unlearn {

// Keeps gRPC's own threads until the process ends. Otherwise the destructor of the last channel or
// server takes the library down and may wait 10 s for a poller, after every server's drain and
// every call of the command line tool. Thread-safe; any number of calls.
void KeepGrpcRunning();

}  // namespace unlearn

#endif  // PROXY_TRANSPORT_GRPC_LIBRARY_H_
