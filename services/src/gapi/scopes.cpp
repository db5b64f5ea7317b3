#include "gapi/scopes.h"

#include <algorithm>
#include <cstddef>

#include "json_args.h"
#include "sequential/base/json_text.h"

namespace sequential::services::gapi {
namespace {

constexpr std::string_view kDomainReadonly =
    "https://www.googleapis.com/auth/admin.directory.domain.readonly";
constexpr std::string_view kUserReadonly =
    "https://www.googleapis.com/auth/admin.directory.user.readonly";
constexpr std::string_view kGmailReadonly = "https://www.googleapis.com/auth/gmail.readonly";

// The four methods of the Gmail search ask for what its documents name, so that an account set up
// for it by those documents works, and both Directory calls share one token.
std::vector<std::string> usual_scopes(std::string_view method) {
  if (method == "admin.domains.list" || method == "admin.users.list") {
    return {std::string(kDomainReadonly), std::string(kUserReadonly)};
  }
  if (method == "gmail.users.messages.list" || method == "gmail.users.messages.get") {
    return {std::string(kGmailReadonly)};
  }
  return {};
}

bool contains(const std::vector<std::string>& list, std::string_view scope) {
  return std::find(list.begin(), list.end(), scope) != list.end();
}

// Google names the parts of a scope after the whole (drive, drive.file, drive.metadata.readonly),
// so of the scopes that one method accepts the shortest is the broadest.
const std::string_view* broadest(const std::vector<std::string_view>& scopes) {
  const auto place = std::min_element(
      scopes.begin(), scopes.end(),
      [](std::string_view a, std::string_view b) { return a.size() < b.size(); });
  return place == scopes.end() ? nullptr : &*place;
}

}  // namespace

std::vector<std::string> split_scopes(std::string_view text) {
  std::vector<std::string> scopes;
  if (json_is_array(text) && check_json(text).has_value()) {
    for (const std::string_view each : json_elements(text)) {
      if (const auto scope = json_text_value(each)) scopes.push_back(*scope);
    }
    return scopes;
  }
  constexpr std::string_view gaps = " ,;\t\r\n";
  while (!text.empty()) {
    const auto begin = text.find_first_not_of(gaps);
    if (begin == std::string_view::npos) break;
    text.remove_prefix(begin);
    const auto end = std::min(text.find_first_of(gaps), text.size());
    scopes.emplace_back(text.substr(0, end));
    text.remove_prefix(end);
  }
  return scopes;
}

Result<std::vector<std::string>> choose_scopes(const MethodFacts& method,
                                               const std::vector<std::string>& authorised) {
  if (auto usual = usual_scopes(method.name); !usual.empty()) return usual;
  std::vector<std::string_view> granted, readonly;
  std::string wanted;
  for (std::size_t i = 0; i < scope_count(method); ++i) {
    const std::string_view scope = scope_at(method, i);
    // Add-on scopes are good only inside a Workspace add-on.
    if (scope.find(".addons.") != std::string_view::npos) continue;
    wanted += (wanted.empty() ? "" : ", ") + std::string(scope);
    if (!authorised.empty() && !contains(authorised, scope)) continue;
    granted.push_back(scope);
    if (scope.ends_with(".readonly")) readonly.push_back(scope);
  }
  const std::string_view* choice = method.verb == "GET" ? broadest(readonly) : nullptr;
  if (choice == nullptr) choice = broadest(granted);
  if (choice == nullptr) {
    return make_error(Errc::forbidden, std::string(method.name) +
                                           " needs one of these scopes, and default/GAPI_SCOPES "
                                           "lists none of them: " +
                                           wanted);
  }
  return std::vector<std::string>{std::string(*choice)};
}

}  // namespace sequential::services::gapi
