#pragma once
// What the tests of the HTTP client share.

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "loopback_server.h"
#include "sequential/services/builtin.h"
#include "waiting.h"

namespace sequential::test {

using Answer = Result<services::HttpResponse>;

inline services::HttpRequest get(const std::string& url) {
  services::HttpRequest request;
  request.url = url;
  request.operator_trusted = true;
  return request;
}

inline services::HttpRequest post(const std::string& url, std::string body) {
  services::HttpRequest request = get(url);
  request.method = "POST";
  request.body = std::move(body);
  request.has_body = true;
  return request;
}

inline std::string header_of(const services::HttpResponse& response, std::string_view name) {
  for (const auto& [each, value] : response.headers) {
    if (each == name) return value;
  }
  return "(none)";
}

class HttpClientFixture : public ::testing::Test {
 protected:
  Answer send(services::HttpRequest request) { return send_and_wait(*client_, std::move(request)); }
  static Handler always(std::string bytes) {
    return [bytes = std::move(bytes)](const SeenRequest&, Peer& peer) { peer.send(bytes); };
  }
  // Expects an error of this code and gives its message.
  std::string message_of(const Answer& answer, Errc code) {
    if (answer.has_value()) {
      ADD_FAILURE() << "answered with status " << answer.value().status;
      return {};
    }
    EXPECT_EQ(answer.error().code, code) << answer.error().message;
    return answer.error().message;
  }

  std::unique_ptr<services::HttpClient> client_ = services::open_http_client({});
};

}  // namespace sequential::test
