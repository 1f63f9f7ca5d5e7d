#include <cstdio>
#include <thread>
#include <atomic>
#include "absl/time/clock.h"
#include "offset/model/cached_forward.h"
#include "offset/model/checkpoint.h"
#include "proxy/upstream/local_upstream.h"
#include "proxy/upstream/upstream.h"
#include "proxy/upstream/testing/tiny_model.h"
#include "proxy/model_server/upstream_service.h"
#include "proxy/transport/server_runner.h"
#include "proxy/upstream/native_upstream.h"
using namespace unlearn;
void Bench(const char* name, Upstream& up, int sessions, int steps) {
  std::vector<std::thread> ts; absl::Time t0 = absl::Now();
  for (int s = 0; s < sessions; ++s) ts.emplace_back([&]{ auto x = up.NewSession().value();
    for (int i = 0; i < steps; ++i) { auto r = StepAndWait(*x, {i % 200, {i % 250}, UpstreamStep::Positions::kLast}); if (!r.ok()) { printf("%s\n", r.status().ToString().c_str()); return; } } });
  for (auto& t : ts) t.join();
  double d = absl::ToDoubleSeconds(absl::Now() - t0);
  printf("%s sessions %d: %.1f us a step, %.0f steps/s\n", name, sessions, d / steps * 1e6, steps * sessions / d); fflush(stdout);
}

#include "grpcpp/create_channel.h"
int main() {
  const int vocab = 151936;
    std::string f = "/tmp/scratch_model"; TinyModelOptions o; o.vocab_size = vocab; o.hidden = 16; o.layers = 1; auto st = WriteTinyModel(f, o); if (!st.ok()) { printf("%s\n", st.ToString().c_str()); return 1; }
    auto up = LocalUpstream::Open(f, {}).value();
    Bench("local", *up, 1, 300); Bench("local", *up, 8, 100);
    UpstreamServiceImpl svc(up.get(), {}); ServerOptions so; so.handle_signals = false; so.drain_timeout = absl::ZeroDuration();
    auto run = ServerRunner::Start(so, {{&svc, v1::UpstreamService::service_full_name()}}).value();
    struct N : Upstream { std::shared_ptr<NativeConnection> c; const UpstreamInfo& info() const override { return c->info; } absl::StatusOr<std::unique_ptr<UpstreamSession>> NewSession() override { return NewNativeSession(c); } absl::StatusOr<UpstreamInfo> Probe() override { return c->info; } };
    for (int rep = 0; rep < 2; ++rep)
    for (int mode = 0; mode < 4; ++mode) {
      grpc::ChannelArguments a; a.SetMaxReceiveMessageSize(-1); a.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
      if (mode & 1) a.SetInt(GRPC_ARG_HTTP2_MAX_FRAME_SIZE, 4 << 20);
      if (mode & 2) a.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 8 << 20);
      N n; n.c = std::make_shared<NativeConnection>(); n.c->stub = v1::UpstreamService::NewStub(grpc::CreateCustomChannel(run->addresses()[0], grpc::InsecureChannelCredentials(), a)); n.c->address = "x"; n.c->info = up->info(); n.c->step_timeout = absl::Seconds(100);
      Bench(("frame/lookahead mode " + std::to_string(mode)).c_str(), n, 1, 300);
      Bench(("frame/lookahead mode " + std::to_string(mode)).c_str(), n, 8, 100);
    }
}
