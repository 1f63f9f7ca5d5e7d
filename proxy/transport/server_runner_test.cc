#include "proxy/transport/server_runner.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "grpcpp/generic/generic_stub.h"
#include "gtest/gtest.h"
#include "offset/base/file.h"
#include "proxy/transport/client_channel.h"
#include "proxy/transport/grpc_status.h"
#include "unlearn/v1/generation.grpc.pb.h"

namespace unlearn {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// A fresh folder whose name is short enough for a socket's path; TempDir() may not be.
std::string ShortFolder() {
  char name[] = "/tmp/socketXXXXXX";
  EXPECT_NE(mkdtemp(name), nullptr);
  return name;
}

constexpr char kName[] = "unlearn.v1.GenerationService";

// Generate sends "first", waits until it is allowed to end or is cancelled, and sends "last".
class WaitingService : public v1::GenerationService::Service {
 public:
  grpc::Status Generate(grpc::ServerContext* context, const v1::GenerateRequest*,
                        grpc::ServerWriter<v1::GenerateResponse>* writer) override {
    v1::GenerateResponse response;
    response.set_text("first");
    writer->Write(response);
    while (!may_end.WaitForNotificationWithTimeout(absl::Milliseconds(5))) {
      if (!context->IsCancelled()) continue;
      cancelled = true;
      return grpc::Status::CANCELLED;
    }
    response.set_text("last");
    writer->Write(response);
    return grpc::Status::OK;
  }

  absl::Notification may_end;
  std::atomic<bool> cancelled = false;
};

// The same for gRPC's callback interface: "first" at once, "last" when End() is called.
class CallbackService : public v1::GenerationService::CallbackService {
 public:
  grpc::ServerWriteReactor<v1::GenerateResponse>* Generate(grpc::CallbackServerContext*,
                                                           const v1::GenerateRequest*) override {
    reactor_ = new Reactor();
    return reactor_;
  }
  void End() { reactor_.load()->WriteLast(); }

 private:
  class Reactor : public grpc::ServerWriteReactor<v1::GenerateResponse> {
   public:
    Reactor() {
      response_.set_text("first");
      StartWrite(&response_);
    }
    void WriteLast() {
      response_.set_text("last");
      StartWriteAndFinish(&response_, grpc::WriteOptions(), grpc::Status::OK);
    }
    void OnDone() override { delete this; }

   private:
    v1::GenerateResponse response_;
  };
  std::atomic<Reactor*> reactor_ = nullptr;
};

ServerOptions QuietOptions() {
  ServerOptions options;
  options.handle_signals = false;
  return options;
}

std::unique_ptr<ServerRunner> MustStart(const ServerOptions& options, WaitingService& service,
                                        bool serving = true) {
  auto runner = ServerRunner::Start(options, {{&service, kName, serving}});
  EXPECT_TRUE(runner.ok()) << runner.status();
  return *std::move(runner);
}

std::shared_ptr<grpc::Channel> Dial(const ServerRunner& runner, int address = 0) {
  ClientOptions options;
  options.address = runner.addresses()[address];
  const auto channel = ClientChannel::Create(options);
  EXPECT_TRUE(channel.ok()) << channel.status();
  return channel->channel();
}

// Waits until nobody listens any more: the listener closes just after draining begins.
bool WaitUntilClosed(int port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  for (const absl::Time end = absl::Now() + absl::Seconds(10); absl::Now() < end;) {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    const bool open = connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
    close(fd);
    if (!open) return true;
    absl::SleepFor(absl::Milliseconds(1));
  }
  return false;
}

// A running Generate that has had its first message.
struct Stream {
  explicit Stream(const std::shared_ptr<grpc::Channel>& channel)
      : stub(v1::GenerationService::NewStub(channel)),
        reader(stub->Generate(&context, v1::GenerateRequest())) {
    v1::GenerateResponse response;
    EXPECT_TRUE(reader->Read(&response));
    EXPECT_EQ(response.text(), "first");
  }
  std::unique_ptr<v1::GenerationService::Stub> stub;
  grpc::ClientContext context;
  std::unique_ptr<grpc::ClientReader<v1::GenerateResponse>> reader;
};

// A call of any kind in wire format, so that no generated code of gRPC's own services is needed.
class RawCall {
 public:
  RawCall(const std::shared_ptr<grpc::Channel>& channel, const std::string& method,
          const std::string& request)
      : stub_(channel) {
    call_ = stub_.PrepareCall(&context_, method, &queue_);
    call_->StartCall(this);
    EXPECT_TRUE(Next());
    grpc::Slice slice(request);
    call_->Write(grpc::ByteBuffer(&slice, 1), this);
    Next();
  }
  ~RawCall() {
    context_.TryCancel();
    grpc::Status status;
    call_->Finish(&status, this);
    Next();
    queue_.Shutdown();
    void* tag;
    bool ok;
    while (queue_.Next(&tag, &ok)) {
    }
  }
  // The next message; empty at the end.
  std::string Read() {
    grpc::ByteBuffer buffer;
    call_->Read(&buffer, this);
    if (!Next()) return "";
    grpc::Slice slice;
    EXPECT_TRUE(buffer.DumpToSingleSlice(&slice).ok());
    return std::string(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }

 private:
  bool Next() {
    void* tag;
    bool ok = false;
    return queue_.Next(&tag, &ok) && ok;
  }
  grpc::GenericStub stub_;
  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call_;
};

// A HealthCheckRequest for `service`.
std::string HealthRequest(const std::string& service) {
  if (service.empty()) return "";
  return absl::StrCat("\x0A", std::string(1, static_cast<char>(service.size())), service);
}
const char kServing[] = "\x08\x01";
const char kNotServing[] = "\x08\x02";

std::string Health(const std::shared_ptr<grpc::Channel>& channel, const std::string& service) {
  return RawCall(channel, "/grpc.health.v1.Health/Check", HealthRequest(service)).Read();
}

TEST(ServerRunnerTest, HealthFollowsEachService) {
  WaitingService service;
  const auto runner = MustStart(QuietOptions(), service, /*serving=*/false);
  const auto channel = Dial(*runner);
  EXPECT_EQ(Health(channel, kName), kNotServing);
  EXPECT_EQ(Health(channel, ""), kNotServing);
  ASSERT_TRUE(runner->SetServing(kName, true).ok());
  EXPECT_EQ(Health(channel, kName), kServing);
  EXPECT_EQ(Health(channel, ""), kServing);
  ASSERT_TRUE(runner->SetServing(kName, false).ok());
  EXPECT_EQ(Health(channel, kName), kNotServing);
  EXPECT_EQ(Health(channel, "nobody"), "");
  EXPECT_EQ(runner->SetServing("nobody", true).code(), absl::StatusCode::kNotFound);
}

TEST(ServerRunnerTest, ReflectionListsTheServices) {
  WaitingService service;
  const auto runner = MustStart(QuietOptions(), service);
  RawCall call(Dial(*runner), "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
               "\x3A\x01*");  // list_services: "*"
  EXPECT_THAT(call.Read(), AllOf(HasSubstr(kName), HasSubstr("grpc.reflection.v1alpha")));
}

TEST(ServerRunnerTest, WritesTheRealPortsOnceItAnswers) {
  WaitingService service;
  ServerOptions options = QuietOptions();
  const std::string folder = ShortFolder();
  options.port_file = JoinPath(folder, "port");
  const std::string socket_path = JoinPath(folder, "both.sock");
  options.listen = {"unix:" + socket_path, "127.0.0.1:0", "localhost:0"};
  ASSERT_TRUE(WriteFileAtomically(options.port_file, "1\n").ok());
  {
    const auto runner = MustStart(options, service);
    ASSERT_EQ(runner->addresses().size(), 3u);
    EXPECT_GT(runner->port(), 0);
    EXPECT_EQ(runner->addresses()[1], absl::StrCat("127.0.0.1:", runner->port()));
    const std::string third = runner->addresses()[2].substr(sizeof("localhost:") - 1);
    EXPECT_EQ(ReadFile(options.port_file).value(),
              absl::StrCat("unix:", socket_path, "\n", runner->port(), "\n", third, "\n"));
    for (int i = 0; i < 3; ++i) EXPECT_EQ(Health(Dial(*runner, i), ""), kServing) << i;
  }
  EXPECT_FALSE(FileExists(options.port_file));
}

TEST(ServerRunnerTest, ATakenPortIsAnErrorThatSaysSo) {
  WaitingService service, other;
  const auto runner = MustStart(QuietOptions(), service);
  ServerOptions options = QuietOptions();
  options.listen = {runner->addresses()[0]};
  const auto second = ServerRunner::Start(options, {{&other, kName}});
  EXPECT_EQ(second.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(second.status().message()),
              AllOf(HasSubstr("--listen"), HasSubstr(runner->addresses()[0]), HasSubstr("in use")));
  EXPECT_EQ(Health(Dial(*runner), ""), kServing);
}

TEST(ServerRunnerTest, ALivingUnixSocketIsNotTakenAwayAndADeadOneIsReplaced) {
  WaitingService service, other;
  const std::string path = JoinPath(ShortFolder(), "one.sock");
  ServerOptions options = QuietOptions();
  options.listen = {"unix:" + path};
  // A socket file of a process that is gone.
  sockaddr_un name = {};
  name.sun_family = AF_UNIX;
  ASSERT_LT(path.size(), sizeof(name.sun_path));
  path.copy(name.sun_path, path.size());
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&name), sizeof(name)), 0);
  close(fd);
  ASSERT_TRUE(FileExists(path));

  const auto runner = MustStart(options, service);
  EXPECT_EQ(runner->port(), 0);
  EXPECT_EQ(ServerRunner::Start(options, {{&other, kName}}).status().code(),
            absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(Health(Dial(*runner), ""), kServing);

  const std::string file = JoinPath(ShortFolder(), "precious");
  ASSERT_TRUE(WriteFileAtomically(file, "data").ok());
  options.listen = {"unix:" + file};
  EXPECT_EQ(ServerRunner::Start(options, {{&other, kName}}).status().code(),
            absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(ReadFile(file).value(), "data");
}

TEST(ServerRunnerTest, BadSettingsNameTheirFlag) {
  WaitingService service;
  for (const char* address : {"", "9000", "127.0.0.1:", ":80", "127.0.0.1:70000", "127.0.0.1:x",
                              "::1:80", "no such host:1", "unix:", "203.0.113.7:0"}) {
    ServerOptions options = QuietOptions();
    options.listen = {address};
    const auto runner = ServerRunner::Start(options, {{&service, kName}});
    EXPECT_EQ(runner.status().code(), absl::StatusCode::kInvalidArgument) << address;
    EXPECT_THAT(std::string(runner.status().message()), HasSubstr("--listen"));
  }
  ServerOptions options = QuietOptions();
  options.listen = {};
  EXPECT_FALSE(ServerRunner::Start(options, {{&service, kName}}).ok());
  options = QuietOptions();
  options.listen = {"unix:/nowhere/at/all.sock"};
  EXPECT_THAT(std::string(ServerRunner::Start(options, {{&service, kName}}).status().message()),
              HasSubstr("No such file"));
  options = QuietOptions();
  options.tls_cert = "/nowhere/cert.pem";
  options.tls_key = "/nowhere/key.pem";
  EXPECT_THAT(std::string(ServerRunner::Start(options, {{&service, kName}}).status().message()),
              HasSubstr("--tls_cert"));
  options = QuietOptions();
  options.port_file = "/nowhere/port";
  EXPECT_THAT(std::string(ServerRunner::Start(options, {{&service, kName}}).status().message()),
              HasSubstr("--port_file"));
  options = QuietOptions();
  options.drain_timeout = -absl::Seconds(1);
  EXPECT_THAT(std::string(ServerRunner::Start(options, {{&service, kName}}).status().message()),
              HasSubstr("--drain_timeout"));
}

TEST(ServerRunnerTest, DrainLetsStreamsFinishAndTakesNoNewOnes) {
  WaitingService service;
  absl::Notification told;
  ServerOptions options = QuietOptions();
  options.on_drain = [&told] { told.Notify(); };
  const auto runner = MustStart(options, service);
  const auto channel = Dial(*runner);
  Stream stream(channel);
  RawCall watch(channel, "/grpc.health.v1.Health/Watch", HealthRequest(kName));
  EXPECT_EQ(watch.Read(), kServing);

  EXPECT_FALSE(runner->draining());
  const absl::Time start = absl::Now();
  runner->Shutdown();
  EXPECT_EQ(watch.Read(), kNotServing);
  ASSERT_TRUE(told.WaitForNotificationWithTimeout(absl::Seconds(10)));
  EXPECT_TRUE(runner->draining());
  ASSERT_TRUE(runner->SetServing(kName, true).ok());  // too late to matter
  ASSERT_TRUE(WaitUntilClosed(runner->port()));
  {
    grpc::ClientContext context;
    const auto stub = v1::GenerationService::NewStub(Dial(*runner));
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(5));
    v1::GenerateResponse response;
    const auto reader = stub->Generate(&context, v1::GenerateRequest());
    EXPECT_FALSE(reader->Read(&response));
    EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  }
  EXPECT_FALSE(service.cancelled);
  service.may_end.Notify();
  v1::GenerateResponse response;
  EXPECT_TRUE(stream.reader->Read(&response));
  EXPECT_EQ(response.text(), "last");
  EXPECT_FALSE(stream.reader->Read(&response));
  EXPECT_TRUE(stream.reader->Finish().ok());
  EXPECT_EQ(watch.Read(), "");
  EXPECT_EQ(runner->Wait(), absl::OkStatus());
  EXPECT_LT(absl::Now() - start, options.drain_timeout / 2);  // a watcher does not hold it up
}

TEST(ServerRunnerTest, DrainWaitsForTheCallbackInterfaceToo) {
  CallbackService service;
  const auto runner = ServerRunner::Start(QuietOptions(), {{&service, kName}});
  ASSERT_TRUE(runner.ok()) << runner.status();
  Stream stream(Dial(**runner));
  (*runner)->Shutdown();
  absl::SleepFor(absl::Milliseconds(400));  // longer than an idle server takes to end
  service.End();
  v1::GenerateResponse response;
  EXPECT_TRUE(stream.reader->Read(&response));
  EXPECT_EQ(response.text(), "last");
  EXPECT_FALSE(stream.reader->Read(&response));
  EXPECT_TRUE(stream.reader->Finish().ok());
  EXPECT_EQ((*runner)->Wait(), absl::OkStatus());
}

TEST(ServerRunnerTest, DrainTimeoutCancelsWhatStillRuns) {
  for (const absl::Duration timeout : {absl::ZeroDuration(), absl::Milliseconds(200)}) {
    WaitingService service;
    ServerOptions options = QuietOptions();
    options.drain_timeout = timeout;
    const auto runner = MustStart(options, service);
    Stream stream(Dial(*runner));
    const absl::Time start = absl::Now();
    runner->Shutdown();
    const absl::Status status = runner->Wait();
    EXPECT_GE(absl::Now() - start, timeout);
    EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr("--drain_timeout"), HasSubstr("1 running call(s) cancelled")));
    EXPECT_TRUE(service.cancelled);
    v1::GenerateResponse response;
    EXPECT_FALSE(stream.reader->Read(&response));
    EXPECT_FALSE(stream.reader->Finish().ok());
  }
}

TEST(ServerRunnerTest, DestructorEndsAnIdleServer) {
  WaitingService service;
  const auto channel = [&] {
    const auto runner = MustStart(QuietOptions(), service);
    EXPECT_EQ(Health(runner->InProcessChannel(), ""), kServing);
    return Dial(*runner);
  }();
  grpc::ClientContext context;
  v1::GetInfoResponse response;
  EXPECT_EQ(v1::GenerationService::NewStub(channel)
                ->GetInfo(&context, v1::GetInfoRequest(), &response)
                .error_code(),
            grpc::StatusCode::UNAVAILABLE);
}

TEST(ServerRunnerTest, SigtermDrains) {
  for (const int signal : {SIGTERM, SIGINT}) {
    WaitingService service;
    const auto runner = MustStart(ServerOptions(), service);
    Stream stream(Dial(*runner));
    ASSERT_EQ(kill(getpid(), signal), 0);
    while (!runner->draining()) absl::SleepFor(absl::Milliseconds(1));
    absl::SleepFor(absl::Milliseconds(50));
    EXPECT_FALSE(service.cancelled);
    service.may_end.Notify();
    v1::GenerateResponse response;
    EXPECT_TRUE(stream.reader->Read(&response));
    EXPECT_FALSE(stream.reader->Read(&response));
    EXPECT_TRUE(stream.reader->Finish().ok());
    EXPECT_EQ(runner->Wait(), absl::OkStatus());
  }
}

TEST(ServerRunnerTest, ASecondSigtermCancels) {
  WaitingService service;
  ServerOptions options;
  options.drain_timeout = absl::Minutes(10);
  const auto runner = MustStart(options, service);
  Stream stream(Dial(*runner));
  kill(getpid(), SIGTERM);
  while (!runner->draining()) absl::SleepFor(absl::Milliseconds(1));
  kill(getpid(), SIGTERM);
  EXPECT_EQ(runner->Wait().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(service.cancelled);
}

TEST(ServerRunnerTest, OnlyOneRunnerTakesTheSignals) {
  WaitingService service, other;
  const auto runner = MustStart(ServerOptions(), service);
  EXPECT_EQ(ServerRunner::Start(ServerOptions(), {{&other, kName}}).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

// As in a main(): the process itself ends with its own exit code, not with the signal's.
TEST(ServerRunnerDeathTest, AProcessEndsInOrderAfterSigterm) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(
      {
        WaitingService service;
        auto runner = ServerRunner::Start(ServerOptions(), {{&service, kName}});
        if (!runner.ok()) _exit(1);
        kill(getpid(), SIGTERM);
        const absl::Status status = (*runner)->Wait();
        runner->reset();
        _exit(status.ok() ? 42 : 2);
      },
      testing::ExitedWithCode(42), "draining for at most 30s");
}

}  // namespace
}  // namespace unlearn
