#pragma once
// The pages of docs/errors, embedded: GET /errors/{code}. Threads: a constant.

#include <string_view>
#include <vector>

namespace sequential::server {

struct ErrorPage {
  std::string_view code;
  std::string_view text;  // Markdown
};

const std::vector<ErrorPage>& error_pages();  // by code

}  // namespace sequential::server
