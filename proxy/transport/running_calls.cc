#include "proxy/transport/running_calls.h"

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"

namespace unlearn {
namespace {

// Lives as long as its call does, status sent included.
class CountingInterceptor : public grpc::experimental::Interceptor {
 public:
  explicit CountingInterceptor(std::atomic<int>* count) : count_(count) {
    if (count_ != nullptr) ++*count_;
  }
  ~CountingInterceptor() override {
    if (count_ != nullptr) --*count_;
  }
  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    methods->Proceed();
  }

 private:
  std::atomic<int>* const count_;
};

class Factory : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  explicit Factory(std::atomic<int>* count) : count_(count) {}

  grpc::experimental::Interceptor* CreateServerInterceptor(
      grpc::experimental::ServerRpcInfo* info) override {
    const absl::string_view method = info->method();
    const bool own = absl::StartsWith(method, "/grpc.");
    return new CountingInterceptor(own ? nullptr : count_);
  }

 private:
  std::atomic<int>* const count_;
};

}  // namespace

std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> RunningCalls::NewFactory() {
  return std::make_unique<Factory>(&count_);
}

}  // namespace unlearn
