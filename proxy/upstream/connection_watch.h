#ifndef PROXY_UPSTREAM_CONNECTION_WATCH_H_
#define PROXY_UPSTREAM_CONNECTION_WATCH_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>

#include "grpcpp/channel.h"

namespace unlearn {

// Counts how often a channel has lost its connection: gRPC connects again without a word, and
// another server may be there then. On a thread of its own.
class ConnectionWatch {
 public:
  explicit ConnectionWatch(std::shared_ptr<grpc::Channel> channel);
  // Takes up to a fifth of a second.
  ~ConnectionWatch();

  int64_t lost() const { return lost_; }

 private:
  void Run();

  const std::shared_ptr<grpc::Channel> channel_;
  std::atomic<int64_t> lost_ = 0;
  std::atomic<bool> stopping_ = false;
  std::thread thread_;
};

}  // namespace unlearn

#endif  // PROXY_UPSTREAM_CONNECTION_WATCH_H_
