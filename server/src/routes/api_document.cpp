#include "routes/api_document.h"

#include <nlohmann/json.hpp>

#include "routes/error_pages.h"
#include "sequential/base/check.h"

namespace sequential::server {
namespace {

using Json = nlohmann::ordered_json;

void unite(Json& whole, const Json& part) {
  for (const auto& [name, value] : part.items()) {
    Json& known = whole[name];
    if (known.is_object() && value.is_object()) {
      unite(known, value);
    } else {
      SEQUENTIAL_CHECK(known.is_null());  // no two parts say the same; a unit test reads them all
      known = value;
    }
  }
}

std::string make_document() {
  Json whole = Json::object();
  for (const ApiPart& part : api_parts()) {
    const Json parsed = Json::parse(part.text, nullptr, false);
    SEQUENTIAL_CHECK(parsed.is_object());
    unite(whole, parsed);
  }
  Json codes = Json::array();
  for (const ErrorPage& page : error_pages()) codes.push_back(page.code);
  whole["components"]["schemas"]["ErrorCode"]["enum"] = std::move(codes);
  return whole.dump();
}

}  // namespace

const std::string& api_document() {
  static const std::string document = make_document();
  return document;
}

}  // namespace sequential::server
