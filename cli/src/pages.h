#pragma once
// Lists that the server gives page by page, read to their end.

#include <nlohmann/json.hpp>

#include "session.h"

namespace sequential::cli {

// The list `key` of every page of `path`. With --json it is printed too: as the server wrote it
// where one page was all. Answers an exit code.
int all_pages(Session& session, const std::string& path, const char* key, nlohmann::json& items);

}  // namespace sequential::cli
