#include "proxy/transport/test_certificates.h"

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <cstdlib>
#include <memory>

#include "offset/base/file.h"

namespace unlearn {
namespace {

void Require(bool fine, const char* what) {
  if (fine) return;
  fprintf(stderr, "test certificates: %s failed\n", what);
  abort();
}

struct Free {
  void operator()(X509* p) const { X509_free(p); }
  void operator()(EVP_PKEY* p) const { EVP_PKEY_free(p); }
  void operator()(BIO* p) const { BIO_free(p); }
  void operator()(X509_EXTENSION* p) const { X509_EXTENSION_free(p); }
};

struct Identity {
  std::unique_ptr<EVP_PKEY, Free> key;
  std::unique_ptr<X509, Free> certificate;
};

void AddExtension(X509* certificate, int nid, const char* value) {
  std::unique_ptr<X509_EXTENSION, Free> extension(
      X509V3_EXT_conf_nid(nullptr, nullptr, nid, value));
  Require(extension != nullptr && X509_add_ext(certificate, extension.get(), -1) == 1, "extension");
}

// Signed by `issuer`, or by itself as an authority when that is null.
Identity MakeIdentity(const char* name, long serial, const Identity* issuer) {
  Identity made;
  made.key.reset(EVP_EC_gen("P-256"));
  made.certificate.reset(X509_new());
  Require(made.key != nullptr && made.certificate != nullptr, "key");
  X509* certificate = made.certificate.get();
  X509_set_version(certificate, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial);
  X509_gmtime_adj(X509_getm_notBefore(certificate), -60);
  X509_gmtime_adj(X509_getm_notAfter(certificate), 24 * 3600);
  X509_set_pubkey(certificate, made.key.get());
  X509_NAME* subject = X509_get_subject_name(certificate);
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(name), -1, -1, 0);
  X509_set_issuer_name(certificate,
                       issuer ? X509_get_subject_name(issuer->certificate.get()) : subject);
  if (issuer == nullptr) {
    AddExtension(certificate, NID_basic_constraints, "critical,CA:TRUE");
    AddExtension(certificate, NID_key_usage, "critical,keyCertSign,cRLSign");
  } else {
    AddExtension(certificate, NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1");
  }
  Require(X509_sign(certificate, issuer ? issuer->key.get() : made.key.get(), EVP_sha256()) > 0,
          "signature");
  return made;
}

std::string Write(const std::string& path, BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  Require(WriteFileAtomically(path, absl::string_view(data, size)).ok(), "write");
  return path;
}

std::string WriteCertificate(const std::string& path, const Identity& identity) {
  std::unique_ptr<BIO, Free> bio(BIO_new(BIO_s_mem()));
  Require(PEM_write_bio_X509(bio.get(), identity.certificate.get()) == 1, "PEM certificate");
  return Write(path, bio.get());
}

std::string WriteKey(const std::string& path, const Identity& identity) {
  std::unique_ptr<BIO, Free> bio(BIO_new(BIO_s_mem()));
  Require(PEM_write_bio_PrivateKey(bio.get(), identity.key.get(), nullptr, nullptr, 0, nullptr,
                                   nullptr) == 1,
          "PEM key");
  return Write(path, bio.get());
}

}  // namespace

TestCertificates MakeTestCertificates(const std::string& folder) {
  const Identity ca = MakeIdentity("test authority", 1, nullptr);
  const Identity other_ca = MakeIdentity("other authority", 2, nullptr);
  const Identity server = MakeIdentity("server", 3, &ca);
  const Identity client = MakeIdentity("client", 4, &ca);
  TestCertificates paths;
  paths.ca = WriteCertificate(JoinPath(folder, "ca.pem"), ca);
  paths.other_ca = WriteCertificate(JoinPath(folder, "other_ca.pem"), other_ca);
  paths.server_cert = WriteCertificate(JoinPath(folder, "server_cert.pem"), server);
  paths.server_key = WriteKey(JoinPath(folder, "server_key.pem"), server);
  paths.client_cert = WriteCertificate(JoinPath(folder, "client_cert.pem"), client);
  paths.client_key = WriteKey(JoinPath(folder, "client_key.pem"), client);
  return paths;
}

}  // namespace unlearn
