#pragma once
// One request on its way: libcurl's handle, what it received, and the verdict on where it went.
//
// Threads: belongs to the client's thread once it is queued.

#include <curl/curl.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "http/url.h"
#include "sequential/base/error.h"
#include "sequential/services/builtin.h"

namespace sequential::services {

struct CurlEasyFree {
  void operator()(CURL* easy) const noexcept { curl_easy_cleanup(easy); }
};
using CurlEasy = std::unique_ptr<CURL, CurlEasyFree>;

struct CurlListFree {
  void operator()(curl_slist* list) const noexcept { curl_slist_free_all(list); }
};
using CurlList = std::unique_ptr<curl_slist, CurlListFree>;

using HttpDone = std::function<void(Result<HttpResponse>)>;

// What all transfers of a client share. Constant after construction.
struct TransferRules {
  AllowList allowed;
  std::string proxy;
  std::string ca_file;
};

class Transfer {
 public:
  Transfer(HttpRequest request, HttpDone done);
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  // Parses and judges the URL, checks method and headers. Errors: invalid_arguments, ssrf_denied.
  Result<void> prepare(const TransferRules& rules);

  // Makes `easy` ready to run this hop. `easy` is fresh or reset.
  Result<void> begin(CurlEasy easy, const TransferRules& rules);
  // The hop is over: gives the handle back.
  CurlEasy end() noexcept { return std::move(easy_); }

  // After `end`: the answer, or nothing if a redirect has to be followed (then `begin` again).
  std::optional<Result<HttpResponse>> conclude(CURLcode code, const TransferRules& rules);

  void answer(Result<HttpResponse> result) { done_(std::move(result)); }

  CURL* easy() const { return easy_.get(); }
  const std::string& origin() const { return origin_; }
  MonoTime deadline() const { return request_.deadline; }
  Error timed_out(bool connected) const;

 private:
  // libcurl's callbacks; `self` is a Transfer.
  static std::size_t on_header(char* data, std::size_t size, std::size_t count, void* self);
  static std::size_t on_body(char* data, std::size_t size, std::size_t count, void* self);
  static curl_socket_t on_socket(void* self, curlsocktype purpose, curl_sockaddr* address);
  static int on_connected(void* self, char* remote_ip, char* local_ip, int remote_port,
                          int local_port);

  Result<void> set_options(const TransferRules& rules);
  Result<void> set_body();
  Result<void> set_headers();
  void take_header(std::string_view line);
  bool body_allowed(std::size_t more);
  const std::string* header(std::string_view name) const;
  bool will_redirect() const;
  Result<void> follow(const TransferRules& rules);
  Error failure(CURLcode code);
  bool resend_allowed() const;
  bool judge_address(const std::string& text, bool is_global, std::string_view kind);

  HttpRequest request_;
  HttpDone done_;
  Target target_;
  std::string origin_;
  bool trusted_ = false;    // this hop may reach any address
  bool via_proxy_ = false;  // the address connected to is the proxy's
  int hops_ = 0;

  CurlEasy easy_;
  CurlList headers_;
  HttpResponse response_;
  std::size_t header_bytes_ = 0;
  std::size_t skipped_bytes_ = 0;  // of a redirect's body
  bool body_started_ = false;
  bool too_large_ = false;
  bool headers_too_large_ = false;
  bool redirect_cut_ = false;  // the redirect's body was long: the rest was not read
  int sends_ = 0;              // times this hop's request went out
  bool resend_refused_ = false;
  std::string denied_;         // the address that was refused, with its kind
};

}  // namespace sequential::services
