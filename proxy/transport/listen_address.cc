#include "proxy/transport/listen_address.h"

#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

namespace unlearn {
namespace {

constexpr absl::string_view kUnix = "unix:";

absl::Status ListenError(const std::string& address, int error) {
  const std::string message =
      absl::StrCat("--listen: cannot listen on ", address, ": ", strerror(error));
  switch (error) {
    case EADDRINUSE:
      return absl::AlreadyExistsError(
          absl::StrCat(message, "; stop what listens there or choose another port (0: any free)"));
    case EACCES:
    case EPERM:
      return absl::PermissionDeniedError(message);
    case EADDRNOTAVAIL:
      return absl::InvalidArgumentError(
          absl::StrCat(message, "; the host must be an address of this machine"));
    default:
      return absl::InternalError(message);
  }
}

class Socket {
 public:
  Socket(int family, int type) : fd_(socket(family, type | SOCK_CLOEXEC, 0)) {}
  ~Socket() {
    if (fd_ >= 0) close(fd_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

absl::Status CheckUnix(const std::string& address) {
  absl::string_view path = absl::StripPrefix(address, kUnix);
  sockaddr_un name = {};
  name.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(name.sun_path)) {
    return absl::InvalidArgumentError(absl::StrCat("--listen: the path of ", address, " has ",
                                                   path.size(), " bytes; 1 to ",
                                                   sizeof(name.sun_path) - 1, " are possible"));
  }
  memcpy(name.sun_path, path.data(), path.size());
  struct stat info;
  if (lstat(name.sun_path, &info) != 0) {
    if (errno != ENOENT) return ListenError(address, errno);
    const size_t slash = path.rfind('/');
    const std::string folder(slash == absl::string_view::npos ? "." : path.substr(0, slash + 1));
    if (access(folder.c_str(), W_OK | X_OK) != 0) return ListenError(address, errno);
    return absl::OkStatus();
  }
  if (!S_ISSOCK(info.st_mode)) {
    return absl::AlreadyExistsError(
        absl::StrCat("--listen: ", path, " exists and is not a socket; choose another path"));
  }
  Socket probe(AF_UNIX, SOCK_STREAM);
  if (probe.get() < 0) return ListenError(address, errno);
  if (connect(probe.get(), reinterpret_cast<sockaddr*>(&name), sizeof(name)) == 0) {
    return ListenError(address, EADDRINUSE);
  }
  return absl::OkStatus();  // left behind by a process that is gone; gRPC replaces it
}

absl::Status CheckTcp(const std::string& address) {
  const size_t colon = address.rfind(':');
  int port = -1;
  if (colon == std::string::npos || colon == 0 ||
      !absl::SimpleAtoi(absl::string_view(address).substr(colon + 1), &port) || port < 0 ||
      port > 65535) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--listen: \"", address, "\" is neither HOST:PORT (port 0 to 65535) nor unix:PATH"));
  }
  std::string host = address.substr(0, colon);
  if (absl::StartsWith(host, "[") && absl::EndsWith(host, "]")) {
    host = host.substr(1, host.size() - 2);
  } else if (absl::StrContains(host, ':')) {
    return absl::InvalidArgumentError(
        absl::StrCat("--listen: write the IPv6 address of \"", address, "\" as [HOST]:PORT"));
  }
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const int failed = getaddrinfo(host.c_str(), absl::StrCat(port).c_str(), &hints, &found);
  if (failed != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("--listen: the host of ", address, " is unknown: ", gai_strerror(failed)));
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, &freeaddrinfo);
  // A name may have several addresses (localhost: 127.0.0.1 and ::1); one that works is enough,
  // but none may belong to somebody else.
  int error = 0;
  bool works = false;
  for (const addrinfo* each = found; each != nullptr; each = each->ai_next) {
    Socket probe(each->ai_family, SOCK_STREAM);
    const int on = 1;
    if (probe.get() >= 0 &&
        setsockopt(probe.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
        bind(probe.get(), each->ai_addr, each->ai_addrlen) == 0 && listen(probe.get(), 1) == 0) {
      works = true;
      continue;
    }
    if (errno == EADDRINUSE) return ListenError(address, errno);
    error = errno;
  }
  return works ? absl::OkStatus() : ListenError(address, error);
}

}  // namespace

bool IsUnixAddress(const std::string& address) { return absl::StartsWith(address, kUnix); }

absl::Status CheckListenAddress(const std::string& address) {
  return IsUnixAddress(address) ? CheckUnix(address) : CheckTcp(address);
}

std::string WithPort(const std::string& address, int port) {
  if (IsUnixAddress(address)) return address;
  return absl::StrCat(address.substr(0, address.rfind(':') + 1), port);
}

}  // namespace unlearn
