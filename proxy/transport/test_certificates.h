#ifndef PROXY_TRANSPORT_TEST_CERTIFICATES_H_
#define PROXY_TRANSPORT_TEST_CERTIFICATES_H_

#include <string>

namespace unlearn {

// Paths of PEM files made by MakeTestCertificates.
struct TestCertificates {
  std::string ca;           // signs server_cert and client_cert
  std::string server_cert;  // for localhost and 127.0.0.1
  std::string server_key;
  std::string client_cert;
  std::string client_key;
  std::string other_ca;  // signs none of these
};

// Writes fresh certificates, valid for a day, into `folder`. Dies where OpenSSL or the disk fails.
TestCertificates MakeTestCertificates(const std::string& folder);

}  // namespace unlearn

#endif  // PROXY_TRANSPORT_TEST_CERTIFICATES_H_
