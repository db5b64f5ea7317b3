#pragma once
// What Beast's parser accepts and a server must not: framings on which two readers may disagree
// about where a request ends (request smuggling), and targets that are not plain paths.

#include <boost/beast/http/fields.hpp>
#include <boost/beast/http/message.hpp>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>

#include "sequential/base/error.h"

namespace sequential::server {

// nullopt if the head is unambiguous; otherwise why it is refused (400 or 431, close).
template <class Fields>
std::optional<Error> framing_problem(
    const boost::beast::http::header<true, Fields>& head, std::size_t fields_max) {
  namespace http = boost::beast::http;
  const auto refuse = [](const char* why) { return Error{Errc::bad_request, why}; };
  const auto count = [&head](http::field name) {
    const auto range = head.equal_range(name);
    return std::distance(range.first, range.second);
  };
  const auto fields = static_cast<std::size_t>(std::distance(head.begin(), head.end()));
  if (fields > fields_max) {
    return Error{Errc::headers_too_large,
                 "the header has more than " + std::to_string(fields_max) + " fields"};
  }
  if (head.version() != 11 && head.version() != 10) return refuse("only HTTP/1.0 and HTTP/1.1");
  if (count(http::field::host) > 1 || (head.version() == 11 && count(http::field::host) != 1)) {
    return refuse("exactly one Host header is needed");
  }
  const std::string_view target{head.target().data(), head.target().size()};
  if (target.empty() || target.front() != '/') return refuse("the request target must be a path");
  const auto lengths = count(http::field::content_length);
  const auto codings = count(http::field::transfer_encoding);
  if (lengths > 1 || codings > 1 || (lengths > 0 && codings > 0)) {
    return refuse("the length of the body is stated more than once");
  }
  if (lengths == 1) {
    const auto text = head[http::field::content_length];
    if (text.find(',') != text.npos) return refuse("the length of the body is stated twice");
  }
  if (codings == 1) {
    const auto coding = head[http::field::transfer_encoding];
    const std::string_view text{coding.data(), coding.size()};
    if (head.version() != 11 || text != "chunked") return refuse("unsupported transfer coding");
  }
  return std::nullopt;
}

}  // namespace sequential::server
