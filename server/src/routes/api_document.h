#pragma once
// GET /openapi.json: what the API is, for programs. Written in server/openapi, a file for each
// group of routes, and put together here. Threads: constants.

#include <string>
#include <string_view>
#include <vector>

namespace sequential::server {

struct ApiPart {
  std::string_view name;
  std::string_view text;  // JSON, a part of the document
};

const std::vector<ApiPart>& api_parts();  // embedded, by name

// The whole: the parts united, and the codes of errors, which are those that have a page.
const std::string& api_document();

}  // namespace sequential::server
