// URLs of outbound requests: whatever the text, the parser, the judge and the redirect resolver agree
// with each other and never let a forbidden address pass.
//
// Input: a URL, then optionally a newline and a Location.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "http/address.h"
#include "http/url.h"

using sequential::services::AddressKind;
using sequential::services::AllowList;
using sequential::services::classify_text;
using sequential::services::judge_target;
using sequential::services::parse_url;
using sequential::services::resolve_redirect;
using sequential::services::Target;

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

// What must hold for every target that was let through, however it was written.
void check(const Target& target) {
  require(target.scheme == "http" || target.scheme == "https");
  require(!target.host.empty() && target.port > 0 && target.port <= 65535);
  require(target.host.find_first_of("@/\\?# ") == std::string::npos);
  for (const char c : target.text) require(static_cast<unsigned char>(c) > 0x20 && c != 0x7F);
  if (judge_target(target, AllowList({})).has_error()) return;
  require(target.port == 80 || target.port == 443);
  const auto kind = classify_text(target.host);
  require(!kind || *kind == AddressKind::global);
  // Reading back what was made of it gives the same place: nothing is left to interpretation.
  const auto again = parse_url(target.text);
  require(again.has_value() && again.value().origin() == target.origin());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const auto newline = input.find('\n');
  const auto target = parse_url(input.substr(0, newline));
  if (target.has_error()) return 0;
  check(target.value());
  if (newline == std::string_view::npos) return 0;
  const auto next = resolve_redirect(target.value(), input.substr(newline + 1));
  if (next.has_value()) check(next.value());
  return 0;
}
