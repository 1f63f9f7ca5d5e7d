#include "proxy/transport/tls_files.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "offset/base/file.h"
#include "offset/base/log.h"
#include "offset/base/status_macros.h"

namespace unlearn {
namespace {

struct Free {
  void operator()(BIO* p) const { BIO_free(p); }
  void operator()(X509* p) const { X509_free(p); }
  void operator()(EVP_PKEY* p) const { EVP_PKEY_free(p); }
};

std::unique_ptr<BIO, Free> MemoryOf(const std::string& text) {
  return std::unique_ptr<BIO, Free>(BIO_new_mem_buf(text.data(), text.size()));
}

// The flag and path of a file, for errors: "--tls_cert FILE".
std::string FlagAndPath(const TlsFiles& files, absl::string_view flag, const std::string& path) {
  return absl::StrCat("--", files.flag_prefix, flag, " ", path);
}

absl::StatusOr<std::string> ReadPem(const TlsFiles& files, absl::string_view flag,
                                    const std::string& path) {
  absl::StatusOr<std::string> contents = ReadFile(path);
  if (contents.ok()) return contents;
  return absl::Status(contents.status().code(), absl::StrCat("--", files.flag_prefix, flag, ": ",
                                                             contents.status().message()));
}

absl::StatusOr<std::unique_ptr<X509, Free>> ParseCertificate(const std::string& pem,
                                                             const std::string& flag_and_path) {
  std::unique_ptr<X509, Free> certificate(
      PEM_read_bio_X509(MemoryOf(pem).get(), nullptr, nullptr, nullptr));
  ERR_clear_error();
  if (certificate == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat(flag_and_path, " holds no certificate in PEM format"));
  }
  if (X509_cmp_current_time(X509_get0_notAfter(certificate.get())) < 0) {
    LogWarning(flag_and_path, ": the certificate has expired; the other side will refuse it");
  }
  return certificate;
}

// A passphrase is never asked for on the terminal of a server.
int NoPassphrase(char*, int, int, void*) { return -1; }

}  // namespace

absl::StatusOr<TlsPems> ReadTlsFiles(const TlsFiles& files) {
  TlsPems pems;
  if (files.cert.empty() != files.key.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("--", files.flag_prefix, "tls_cert and --",
                                                   files.flag_prefix,
                                                   "tls_key are given together or not at all"));
  }
  if (!files.ca.empty()) {
    ASSIGN_OR_RETURN(pems.ca, ReadPem(files, "tls_ca", files.ca));
    RETURN_IF_ERROR(ParseCertificate(pems.ca, FlagAndPath(files, "tls_ca", files.ca)).status());
  }
  if (files.cert.empty()) return pems;
  ASSIGN_OR_RETURN(pems.cert, ReadPem(files, "tls_cert", files.cert));
  ASSIGN_OR_RETURN(pems.key, ReadPem(files, "tls_key", files.key));
  ASSIGN_OR_RETURN(const auto certificate,
                   ParseCertificate(pems.cert, FlagAndPath(files, "tls_cert", files.cert)));
  const std::unique_ptr<EVP_PKEY, Free> key(
      PEM_read_bio_PrivateKey(MemoryOf(pems.key).get(), nullptr, &NoPassphrase, nullptr));
  const bool fits = key != nullptr && X509_check_private_key(certificate.get(), key.get()) == 1;
  ERR_clear_error();
  if (key == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(FlagAndPath(files, "tls_key", files.key),
                                                   " holds no unencrypted private key in PEM "
                                                   "format"));
  }
  if (!fits) {
    return absl::InvalidArgumentError(absl::StrCat(FlagAndPath(files, "tls_key", files.key),
                                                   " is not the key of the first "
                                                   "certificate in ",
                                                   files.cert));
  }
  return pems;
}

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeServerCredentials(
    const TlsFiles& files) {
  ASSIGN_OR_RETURN(const TlsPems pems, ReadTlsFiles(files));
  if (pems.cert.empty()) {
    if (!pems.ca.empty()) {
      return absl::InvalidArgumentError(absl::StrCat("--", files.flag_prefix, "tls_ca needs --",
                                                     files.flag_prefix, "tls_cert and --",
                                                     files.flag_prefix, "tls_key as well"));
    }
    return grpc::InsecureServerCredentials();
  }
  grpc::SslServerCredentialsOptions options(
      pems.ca.empty() ? GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE
                      : GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  options.pem_root_certs = pems.ca;
  options.pem_key_cert_pairs.push_back({pems.key, pems.cert});
  return grpc::SslServerCredentials(options);
}

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeChannelCredentials(
    const TlsFiles& files) {
  ASSIGN_OR_RETURN(const TlsPems pems, ReadTlsFiles(files));
  if (pems.ca.empty() && pems.cert.empty()) return grpc::InsecureChannelCredentials();
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = pems.ca;  // empty: the system's
  options.pem_private_key = pems.key;
  options.pem_cert_chain = pems.cert;
  return grpc::SslCredentials(options);
}

bool IsLocalAddress(absl::string_view address) {
  for (const absl::string_view prefix : {"unix:", "localhost:", "127.", "[::1]:"}) {
    if (absl::StartsWith(address, prefix)) return true;
  }
  return false;
}

}  // namespace unlearn
