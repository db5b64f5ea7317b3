// The HTTP client over TLS: certificates are checked against the name, and HTTP/2 is used when it is
// offered. The server is Node's.

#include <gtest/gtest.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "child.h"
#include "http_client_fixture.h"
#include "sequential/base/json_text.h"
#include "temp_dir.h"

namespace sequential::services {
namespace {

using test::Answer;
using test::get;
using test::Waiting;

// A self-signed certificate for `name` ("DNS:localhost", "IP:127.0.0.1"); `days` may be negative.
void write_certificate(const std::string& name, int days, const std::string& cert_path,
                       const std::string& key_path) {
  EVP_PKEY* const key = EVP_EC_gen("P-256");
  X509* const cert = X509_new();
  X509_set_version(cert, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
  X509_gmtime_adj(X509_getm_notBefore(cert), -10L * 86'400);
  X509_gmtime_adj(X509_getm_notAfter(cert), days * 86'400L);
  X509_set_pubkey(cert, key);
  X509_NAME* const subject = X509_get_subject_name(cert);
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>("test"), -1, -1, 0);
  X509_set_issuer_name(cert, subject);
  X509_EXTENSION* const names =
      X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, name.c_str());
  X509_add_ext(cert, names, -1);
  X509_EXTENSION_free(names);
  X509_sign(cert, key, EVP_sha256());
  std::FILE* file = std::fopen(cert_path.c_str(), "w");
  PEM_write_X509(file, cert);
  std::fclose(file);
  file = std::fopen(key_path.c_str(), "w");
  PEM_write_PrivateKey(file, key, nullptr, nullptr, 0, nullptr, nullptr);
  std::fclose(file);
  X509_free(cert);
  EVP_PKEY_free(key);
}

class TlsTest : public test::HttpClientFixture {
 protected:
  void start(const std::string& name, int days) {
    write_certificate(name, days, dir_.file("cert.pem"), dir_.file("key.pem"));
    server_ = std::make_unique<test::Child>(std::vector<std::string>{
        "node", TLS_SERVER_MJS, dir_.file("cert.pem"), dir_.file("key.pem")});
    port_ = server_->read_line();
    ASSERT_FALSE(port_.empty()) << "node did not start";
  }
  void trust(const std::string& ca_file) {
    HttpClientOptions options;
    options.ca_file = ca_file;
    client_ = open_http_client(options);
  }
  std::string url(const std::string& path) { return "https://127.0.0.1:" + port_ + path; }

  test::TempDir dir_;
  std::unique_ptr<test::Child> server_;
  std::string port_;
};

TEST_F(TlsTest, ATrustedCertificateIsAcceptedAndHttp2IsUsedOverOneConnection) {
  start("IP:127.0.0.1", 10);
  trust(dir_.file("cert.pem"));
  std::vector<Waiting<Answer>> waiting(30);
  for (std::size_t i = 0; i < waiting.size(); ++i) {
    HttpRequest request = get(url("/" + std::to_string(i)));
    request.deadline = test::in_ms(15'000);
    client_->send(std::move(request), waiting[i].take());
  }
  for (std::size_t i = 0; i < waiting.size(); ++i) {
    const auto answer = waiting[i].wait();
    ASSERT_TRUE(answer.has_value());
    ASSERT_TRUE(answer->has_value()) << answer->error().message;
    EXPECT_EQ(answer->value().body, R"({"version":"2.0","path":"/)" + std::to_string(i) +
                                        R"(","sessions":1})");
    EXPECT_EQ(answer->value().reason, "");
  }
}

TEST_F(TlsTest, AnUnknownAuthorityIsRefusedBeforeAnythingIsSent) {
  start("IP:127.0.0.1", 10);
  const Answer answer = send(get(url("/")));
  const std::string message = message_of(answer, Errc::service_unavailable);
  EXPECT_NE(message.find("certificate"), std::string::npos) << message;
  EXPECT_NE(message.find("services.http.ca_file"), std::string::npos) << message;
  EXPECT_EQ(answer.error().field, "connect");
}

TEST_F(TlsTest, ACertificateForAnotherNameIsRefused) {
  start("DNS:other.test", 10);
  trust(dir_.file("cert.pem"));
  const std::string message = message_of(send(get(url("/"))), Errc::service_unavailable);
  EXPECT_NE(message.find("certificate"), std::string::npos) << message;
}

TEST_F(TlsTest, AnExpiredCertificateIsRefused) {
  start("IP:127.0.0.1", -1);
  trust(dir_.file("cert.pem"));
  const std::string message = message_of(send(get(url("/"))), Errc::service_unavailable);
  EXPECT_NE(message.find("certificate"), std::string::npos) << message;
}

TEST_F(TlsTest, ACaFileThatIsMissingIsNamed) {
  start("IP:127.0.0.1", 10);
  trust(dir_.file("none.pem"));
  const std::string message = message_of(send(get(url("/"))), Errc::service_unavailable);
  EXPECT_NE(message.find("services.http.ca_file"), std::string::npos) << message;
}

}  // namespace
}  // namespace sequential::services
