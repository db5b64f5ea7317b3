#include "pages.h"

#include <string>

#include "json_body.h"
#include "sequential/base/json_text.h"

namespace sequential::cli {

using nlohmann::json;

int all_pages(Session& session, const std::string& path, const char* key, json& items) {
  items = json::array();
  std::string cursor;
  bool first = true;
  do {
    const Session::Answer answer =
        session.ask({.path = path + "?limit=1000" +
                             (cursor.empty() ? "" : "&cursor=" + percent_encode(cursor))});
    if (!answer) return answer.exit;
    const json body = parse_body(answer.response.body).value_or(json::object());
    for (const json& item : list_of(body, key)) items.push_back(item);
    cursor = text_of(body, "next_cursor");
    if (session.json() && first && cursor.empty()) {
      session.print_json(answer.response.body);
      return kExitOk;
    }
    first = false;
  } while (!cursor.empty());
  if (session.json()) {
    const json whole{{key, items}, {"next_cursor", nullptr}};
    session.print_json(whole.dump(-1, ' ', false, json::error_handler_t::replace));
  }
  return kExitOk;
}

}  // namespace sequential::cli
