#include "proxy/upstream/connection_watch.h"

#include <chrono>
#include <utility>

namespace unlearn {

ConnectionWatch::ConnectionWatch(std::shared_ptr<grpc::Channel> channel)
    : channel_(std::move(channel)), thread_([this] { Run(); }) {}

ConnectionWatch::~ConnectionWatch() {
  stopping_ = true;
  thread_.join();
}

void ConnectionWatch::Run() {
  grpc_connectivity_state state = channel_->GetState(/*try_to_connect=*/false);
  while (!stopping_) {
    // Only so long, as a wait for a change cannot be called off.
    const auto deadline = std::chrono::system_clock::now() + std::chrono::milliseconds(200);
    if (!channel_->WaitForStateChange(state, deadline)) continue;
    if (state == GRPC_CHANNEL_READY) ++lost_;
    state = channel_->GetState(/*try_to_connect=*/false);
  }
}

}  // namespace unlearn
