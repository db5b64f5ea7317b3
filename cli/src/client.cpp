#include "client.h"

#include <curl/curl.h>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "interrupt.h"
#include "sequential/base/check.h"

namespace sequential::cli {
namespace {

struct Received {
  CURL* curl = nullptr;
  const Request* request = nullptr;
  std::string body;
  bool too_large = false;
  bool stopped = false;
};

std::size_t on_body(char* data, std::size_t size, std::size_t count, void* to) {
  auto& received = *static_cast<Received*>(to);
  const std::size_t bytes = size * count;
  if (received.request->on_piece) {
    long status = 0;
    curl_easy_getinfo(received.curl, CURLINFO_RESPONSE_CODE, &status);
    if (status == 200) {
      received.stopped = !received.request->on_piece(std::string_view(data, bytes));
      return received.stopped ? 0 : bytes;
    }
  }
  if (received.body.size() + bytes > kResponseBytesMax) {
    received.too_large = true;
    return 0;
  }
  received.body.append(data, bytes);
  return bytes;
}

// Called by libcurl about once a second and whenever a signal wakes it.
int on_progress(void* to, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  auto& received = *static_cast<Received*>(to);
  if (received.request->interruptible && Interrupt::requested()) return 1;
  if (received.request->on_tick) received.stopped |= !received.request->on_tick();
  return received.stopped ? 1 : 0;
}

struct FreeList {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using HeaderList = std::unique_ptr<curl_slist, FreeList>;

void add(HeaderList& list, const std::string& line) {
  curl_slist* longer = curl_slist_append(list.get(), line.c_str());
  SEQUENTIAL_CHECK(longer != nullptr);  // only without memory
  (void)list.release();
  list.reset(longer);
}

bool is_loopback_url(std::string_view url) {
  for (const std::string_view host : {"//127.", "//localhost", "//[::1]"}) {
    if (url.find(host) != std::string_view::npos) return true;
  }
  return false;
}

Error transport_error(CURLcode code, const char* detail, const std::string& server) {
  std::string why = detail[0] != '\0' ? detail : curl_easy_strerror(code);
  switch (code) {
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
      return {Errc::config_invalid, "The server's address is not a URL: " + server};
    case CURLE_ABORTED_BY_CALLBACK: return {Errc::cancelled, "Interrupted"};
    case CURLE_OPERATION_TIMEDOUT:
      return {Errc::timeout, "The server at " + server + " did not answer in time (" + why + ")"};
    default:
      return {Errc::service_unavailable, "No server answers at " + server + " (" + why + ")"};
  }
}

}  // namespace

void Client::Close::operator()(void* handle) const { curl_easy_cleanup(handle); }

Client::Client(std::string server, std::string token)
    : server_(std::move(server)), token_(std::move(token)) {
  if (server_.find("://") == std::string::npos) server_ = "http://" + server_;
  while (server_.ends_with('/')) server_.pop_back();
  // Once, on the main thread, before there are others.
  static const CURLcode initialised = curl_global_init(CURL_GLOBAL_DEFAULT);
  SEQUENTIAL_CHECK(initialised == CURLE_OK);
  curl_.reset(curl_easy_init());
  SEQUENTIAL_CHECK(curl_ != nullptr);
}

Result<Response> Client::send(const Request& request) {
  CURL* curl = curl_.get();
  curl_easy_reset(curl);  // keeps the connection
  Received received;
  received.curl = curl;
  received.request = &request;
  char detail[CURL_ERROR_SIZE] = "";
  const std::string url = server_ + request.path;
  HeaderList headers;
  for (const auto& [name, value] : request.headers) add(headers, name + ": " + value);
  if (!token_.empty()) add(headers, "Authorization: Bearer " + token_);
  add(headers, "Expect:");  // no pause before a body

  curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request.method.c_str());
  if (!request.body.empty() || request.method == "POST" || request.method == "PUT") {
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request.body.data());
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE,
                     static_cast<curl_off_t>(request.body.size()));
  }
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "sequential-runner");
  curl_easy_setopt(curl, CURLOPT_ACCEPT_ENCODING, "");
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(kConnectTimeout.count()));
  curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, static_cast<long>(request.timeout.count()));
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, detail);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, &on_body);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &received);
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, &on_progress);
  curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &received);
  if (request.silence_max.count() > 0) {
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME,
                     static_cast<long>(request.silence_max.count() / 1'000));
  }
  if (is_loopback_url(server_)) curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");

  const CURLcode code = curl_easy_perform(curl);
  if (received.too_large) {
    return Error(Errc::response_too_large, "The answer is larger than 256 MiB");
  }
  if (code != CURLE_OK && !received.stopped) return transport_error(code, detail, server_);
  long status = 0;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  return Response{.status = static_cast<int>(status), .body = std::move(received.body),
                  .stopped = received.stopped};
}

std::string percent_encode(std::string_view text) {
  constexpr char digits[] = "0123456789ABCDEF";
  constexpr std::string_view unreserved =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
  std::string out;
  for (const char c : text) {
    if (unreserved.find(c) != std::string_view::npos) {
      out.push_back(c);
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    out.push_back('%');
    out.push_back(digits[byte >> 4]);
    out.push_back(digits[byte & 15]);
  }
  return out;
}

}  // namespace sequential::cli
